//! Event (RFC 6665 8.2.1) and Allow-Events (8.2.2): which package a subscription is to.

use crate::sip::cursor::Cursor;
use crate::sip::header::address::take_params;
use crate::sip::scan::Class;
use crate::sip::writer::{Full, Writer};

/// Value of an Event header.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Package and templates, as they stood: `reg`, `presence.winfo`.
    pub package: &'a [u8],
    /// `id`, which tells two subscriptions of one dialog apart.
    pub id: Option<&'a [u8]>,
    /// All parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads `event-type *( SEMI event-param )`; `None` if it is malformed or has two ids.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Event<'a>> {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        let package = cursor.take(Class::TOKEN);
        if package.is_empty() {
            return None;
        }
        let mut id = None;
        let params = take_params(&mut cursor, |param| {
            (!param.is(b"id") || id.replace(param.value?).is_none()).then_some(())
        })?;
        cursor.is_end().then_some(Event { package, id, params })
    }

    /// Whether two headers mean the same subscription of a dialog: package and id are the same,
    /// byte for byte; other parameters do not count (RFC 6665 8.2.1).
    #[must_use]
    pub fn is_same(&self, other: &Event<'_>) -> bool {
        self.package == other.package && self.id == other.id
    }

    /// Writes package and id: what a NOTIFY repeats of its SUBSCRIBE.
    ///
    /// # Errors
    /// [`Full`].
    pub fn write_to(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.text(self.package)?;
        if let Some(id) = self.id {
            out.put(b";id=")?;
            out.text(id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_and_id_are_read_and_written_back() {
        let of = |value: &'static str| Event::parse(value.as_bytes());
        let event = of(" reg ; x=\"y\";ID = a1").unwrap();
        assert_eq!((event.package, event.id), (&b"reg"[..], Some(&b"a1"[..])));
        let mut buffer = [0; 32];
        let mut out = Writer::new(&mut buffer);
        event.write_to(&mut out).unwrap();
        assert_eq!(out.written(), b"reg;id=a1");
        assert_eq!(of("presence.winfo").unwrap().package, b"presence.winfo");
        for bad in ["", ";id=1", "reg;id", "reg;id=", "reg;id=1;id=2", "reg, dialog", "reg x"] {
            assert!(of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn rfc6665_8_2_1_events_are_compared_byte_for_byte_by_package_and_id() {
        let same = |a: &'static str, b: &'static str| {
            Event::parse(a.as_bytes()).unwrap().is_same(&Event::parse(b.as_bytes()).unwrap())
        };
        assert!(same("reg", "reg;x=y") && same("reg;id=1", "reg;a;id=1"));
        assert!(!same("reg", "Reg") && !same("reg", "reg;id=1") && !same("reg;id=a", "reg;id=A"));
    }
}
