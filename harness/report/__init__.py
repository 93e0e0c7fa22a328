"""What a sweep found, as a page for a reader who has not seen it: gathered, written as HTML or Markdown, and kept."""
