"""What a result looks like on disk: sound, motion template, arrays, preview video, picture. Written whole or not at all."""
