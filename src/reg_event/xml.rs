//! Text inside XML 1.0: what may stand there is escaped, what may not is replaced. The bytes come
//! from phones, so nothing is taken for granted.

use crate::sip::writer::{Full, Writer};

/// Writes `text` so that it reads back as itself, in an attribute in double quotes or between
/// tags. What XML 1.0 cannot carry (bytes that are no UTF-8, most control characters, XML 2.2)
/// becomes U+FFFD.
///
/// # Errors
/// [`Full`].
pub(super) fn escaped(out: &mut Writer<'_>, text: &[u8]) -> Result<(), Full> {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut written = 0;
        for (at, c) in valid.char_indices() {
            let Some(instead) = instead_of(c) else { continue };
            out.put(&valid.as_bytes()[written..at])?;
            out.put(instead.as_bytes())?;
            written = at + c.len_utf8();
        }
        out.put(&valid.as_bytes()[written..])?;
        if !chunk.invalid().is_empty() {
            out.put(REPLACEMENT.as_bytes())?;
        }
    }
    Ok(())
}

/// Most bytes that one byte of text can become: `"` is `&quot;`.
pub(super) const GROWTH_MAX: usize = 6;

const REPLACEMENT: &str = "\u{FFFD}";

fn instead_of(c: char) -> Option<&'static str> {
    Some(match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&apos;",
        // As they are, they would be read from an attribute as spaces (XML 3.3.3).
        '\t' => "&#9;",
        '\n' => "&#10;",
        '\r' => "&#13;",
        '\0'..'\x20' | '\u{FFFE}' | '\u{FFFF}' => REPLACEMENT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escape(text: &[u8]) -> String {
        let mut buf = vec![0; text.len() * GROWTH_MAX];
        let mut out = Writer::new(&mut buf);
        escaped(&mut out, text).expect("room for the worst case");
        String::from_utf8(out.written().to_vec()).expect("UTF-8")
    }

    #[test]
    fn markup_is_escaped_and_what_xml_cannot_carry_is_replaced() {
        assert_eq!(escape(b"sip:a@h;x=\"<&'>\""), "sip:a@h;x=&quot;&lt;&amp;&apos;&gt;&quot;");
        assert_eq!(escape(b"\0a\x1b\xffb\xc3"), "\u{FFFD}a\u{FFFD}\u{FFFD}b\u{FFFD}");
        assert_eq!(escape("ä\u{FFFE}\t\r\n€".as_bytes()), "ä\u{FFFD}&#9;&#13;&#10;€");
        assert_eq!(escape(b""), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_read_back_as_text(text in any::<Vec<u8>>()) {
            let document = format!("<a b=\"{0}\">{0}</a>", escape(&text));
            let mut reader = quick_xml::Reader::from_str(&document);
            reader.config_mut().expand_empty_elements = true;
            let (mut attribute, mut body) = (None, String::new());
            loop {
                use quick_xml::events::Event;
                match reader.read_event().expect("well-formed") {
                    Event::Start(start) => {
                        let value = start.try_get_attribute("b").unwrap().unwrap();
                        attribute = Some(value.normalized_value(
                            quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned());
                    }
                    Event::Text(part) => body += &part.xml10_content(),
                    Event::GeneralRef(part) => {
                        let name = part.xml10_content();
                        body += &quick_xml::escape::unescape(&format!("&{name};")).unwrap();
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            let expected: String = String::from_utf8_lossy(&text).chars().map(|c| match c {
                '\t' | '\r' | '\n' => c,
                '\0'..'\x20' | '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
                _ => c,
            }).collect();
            prop_assert_eq!(attribute.as_deref(), Some(expected.as_str()));
            prop_assert_eq!(body, expected);
        }
    }
}
