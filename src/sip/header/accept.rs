//! Accept (RFC 3261 20.1): which bodies the sender would read.

use crate::sip::cursor::Cursor;
use crate::sip::error::Fault;
use crate::sip::header::address::take_params;
use crate::sip::header::contact::QValue;
use crate::sip::header::media_type::take_names;

/// Whether a body of type `kind/subtype` is accepted by the values of all Accept headers. An empty
/// value accepts nothing; what no Accept at all means is said by whoever asks (application/sdp by
/// RFC 3261, the package's own default by RFC 6665 4.1.3). The most precise range decides, so
/// `q=0` can take one type out of a wider one.
///
/// # Errors
/// [`Fault::Malformed`].
pub fn accepts<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    kind: &str,
    subtype: &str,
) -> Result<bool, Fault> {
    let (kind, subtype) = (kind.as_bytes(), subtype.as_bytes());
    let (mut precision, mut accepted) = (0, false);
    for value in values {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        while !cursor.is_end() {
            let names = take_names(&mut cursor).ok_or(Fault::Malformed)?;
            let mut q = QValue(1000);
            take_params(&mut cursor, |param| {
                if param.is(b"q") {
                    q = QValue::parse(param.value?)?;
                }
                Some(())
            })
            .ok_or(Fault::Malformed)?;
            let here = match names {
                (b"*", b"*") => 1,
                (k, b"*") if k.eq_ignore_ascii_case(kind) => 2,
                (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => 3,
                _ => 0,
            };
            if here > precision {
                (precision, accepted) = (here, q.0 > 0);
            }
            let more = cursor.eat_spaced(b',');
            if more == cursor.is_end() {
                return Err(Fault::Malformed);
            }
        }
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reginfo(values: &[&str]) -> Result<bool, Fault> {
        accepts(values.iter().map(|v| v.as_bytes()), "application", "reginfo+xml")
    }

    #[test]
    fn the_most_precise_range_decides() {
        for yes in [
            "application/reginfo+xml",
            "text/plain , APPLICATION/Reginfo+XML;q=0.1",
            "*/*",
            "application/*;level=1",
            "*/*;q=0, application/*",
        ] {
            assert_eq!(reginfo(&[yes]), Ok(true), "{yes}");
        }
        for no in ["", "application/sdp", "text/*", "*/*, application/reginfo+xml;q=0.0"] {
            assert_eq!(reginfo(&[no]), Ok(false), "{no}");
        }
        assert_eq!(reginfo(&["application/sdp", "application/reginfo+xml"]), Ok(true));
        assert_eq!(reginfo(&[]), Ok(false));
    }

    #[test]
    fn what_is_no_media_range_is_malformed() {
        for bad in ["x", "a/b,", ",a/b", "a/b c/d", "a/b;q=2", "a/b;q", "a/b;;"] {
            assert_eq!(reginfo(&[bad]), Err(Fault::Malformed), "{bad}");
        }
    }
}
