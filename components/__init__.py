"""The stack's parts, one ComponentResource a file; arithmetic and texts in modules that know no cloud."""
