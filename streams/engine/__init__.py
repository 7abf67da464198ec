"""The exact core: records in, figures and checkpoints out. Pure: no I/O, no Faust, no clock; time is passed in."""
