"""Listening for hours: long recordings, the integer pipeline at host speed, misses and false accepts per hour."""
