//! Any text is a list of subscribers or is refused for one line of it.

use aorta::limits::AOR_BYTES_MAX;
use aorta::registrar::aor::Aor;
use aorta::sip::Uri;
use aorta::store::subscribers;

/// The fuzz target: the text of a subscriber file.
pub fn check(bytes: &[u8]) {
    let lines = bytes.split(|&byte| byte == b'\n').count();
    match subscribers::parse(bytes) {
        Ok(found) => {
            assert!(found.len() <= lines);
            for subscriber in &found {
                let text = format!("sip:{}", subscriber.user_at_domain);
                let uri = Uri::parse(text.as_bytes()).expect("an account is a URI's AOR");
                let mut buffer = [0; AOR_BYTES_MAX];
                let aor = Aor::from_uri(&uri, &mut buffer).expect("an account is an AOR");
                assert_eq!(aor.text(), subscriber.user_at_domain.as_bytes(), "not canonical");
                assert!(
                    !subscriber.ha1s.is_empty() || subscriber.policy.is_some(),
                    "an account that nobody can use"
                );
                assert!(subscriber.line as usize <= lines);
            }
        }
        Err((line, wrong)) => {
            assert!((1..=lines).contains(&line));
            assert!(!wrong.to_string().contains(['\n', '\r']));
        }
    }
}
