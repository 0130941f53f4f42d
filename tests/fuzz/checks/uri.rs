//! Two URIs: comparison is an equivalence as far as RFC 3261 19.1.4 lets it be one, and the
//! canonical address-of-record is its own canonical form.

use aorta::limits::AOR_BYTES_MAX;
use aorta::registrar::aor::Aor;
use aorta::sip::Uri;

/// The fuzz target: one URI a line.
pub fn check(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let first = lines.next().and_then(|text| Uri::parse(text).ok());
    let second = lines.next().and_then(|text| Uri::parse(text).ok());
    for uri in [&first, &second].into_iter().flatten() {
        assert!(uri.equals(uri), "not equal to itself: {uri:?}");
        let _ = (uri.param(b"transport"), uri.host_ip());
        check_aor(uri);
    }
    if let (Some(a), Some(b)) = (&first, &second) {
        assert_eq!(a.equals(b), b.equals(a), "equal one way only: {a:?}, {b:?}");
        // Hosts of one value in two spellings of IPv6 stay two names in an address-of-record.
        if a.equals(b) && !a.host.starts_with(b"[") {
            let (mut of_a, mut of_b) = ([0; AOR_BYTES_MAX], [0; AOR_BYTES_MAX]);
            let aors = (Aor::from_uri(a, &mut of_a), Aor::from_uri(b, &mut of_b));
            assert_eq!(aors.0.map(|aor| aor.text()), aors.1.map(|aor| aor.text()));
        }
    }
}

fn check_aor(uri: &Uri<'_>) {
    let mut buffer = [0; AOR_BYTES_MAX];
    let Ok(aor) = Aor::from_uri(uri, &mut buffer) else { return };
    assert!(!aor.user().is_empty() && !aor.domain().is_empty());
    assert!(aor.text().len() <= AOR_BYTES_MAX);
    assert_eq!([aor.user(), aor.domain()].join(&b'@'), aor.text());
    assert!(!aor.domain().iter().any(u8::is_ascii_uppercase));
    let text = [b"sip:", aor.text()].concat();
    let again = Uri::parse(&text).unwrap_or_else(|e| panic!("{}: {e:?}", text.escape_ascii()));
    let mut buffer = [0; AOR_BYTES_MAX];
    let again = Aor::from_uri(&again, &mut buffer).expect("an AOR is one");
    assert_eq!(again.text(), aor.text(), "not its own canonical form");
}
