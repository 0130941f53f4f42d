//! Any text is a configuration or is refused, each fault on one line that names it.

use aorta::config;

/// The fuzz target: the text of a configuration file.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::load(text, "aorta.toml") {
        Ok(settings) => {
            assert_eq!(settings.check(), Ok(()));
            assert!(settings.describe().count() > 0);
        }
        Err(refusals) => {
            assert!(!refusals.is_empty());
            for refusal in refusals {
                let line = refusal.to_string();
                assert!(line.starts_with("aorta.toml"), "{line:?}");
                assert!(!line.contains(['\n', '\r']), "{line:?}");
            }
        }
    }
}
