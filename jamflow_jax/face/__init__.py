"""LivePortrait's networks: motion from pictures of a face, and pictures from motion."""
