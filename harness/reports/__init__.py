"""The report of a sweep: one page (HTML or Markdown) for a reader who has not seen the sweep."""
