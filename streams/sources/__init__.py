"""Where events come from besides real producers: the simulator and the replay of files."""
