"""Many runs from one request: plan, launch, progress, summary."""
