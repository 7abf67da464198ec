"""Side by side runs: labelwatch and its peers on the same broker, the same events and the same machine, in turns."""
