"""What `jamflow evaluate` does, part by part: tasks, rows that metrics must tell apart, scores, gathering, the page."""
