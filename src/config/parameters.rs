//! The one table of names, aliases, units, defaults and ranges.
