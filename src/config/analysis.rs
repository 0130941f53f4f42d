//! What is made of what is registered: by which devices, from where, and what is out of the
//! ordinary.

use std::path::PathBuf;

use super::alerts::AlertRules;

/// The analysis of what is registered, at the admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Databases of places (MaxMind DB files), at most
    /// [`GEO_DATABASES_MAX`](crate::limits::GEO_DATABASES_MAX); relative paths start at the working
    /// directory. Default none.
    pub databases: Vec<PathBuf>,
    /// The bindings are gone through once in this time, 60-86400 s, and when somebody asks; `None`
    /// only then. Default 300.
    pub interval_s: Option<u32>,
    /// When operators are told that something is out of the ordinary.
    pub alerts: AlertRules,
}

impl Default for Analysis {
    fn default() -> Self {
        Analysis { databases: Vec::new(), interval_s: Some(300), alerts: AlertRules::default() }
    }
}
