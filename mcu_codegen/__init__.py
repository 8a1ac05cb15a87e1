"""int8 networks to C for Cortex-M, with proof."""

__version__ = "0.1.0"  # of the distribution, kws-mcu, which takes it from here; a checkout needs no installation
