//! What keeps the pinhole of one binding open: decided when it registers, kept with it. When that
//! is due is a schedule's.

use crate::config::{KeepaliveForm, KeepaliveMessage};

/// Who sends what to keep a pinhole open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keepalive {
    /// Nothing is sent: the phone is not behind NAT, an edge proxy sees to it, its address is not
    /// proven, or its account or network says so.
    #[default]
    None,
    /// What is set for everybody now.
    General,
    /// A raw payload.
    Raw,
    /// An empty line.
    Crlf,
    /// A STUN binding indication.
    Stun,
    /// An OPTIONS.
    Options,
    /// The phone does: it has agreed to (RFC 5626 4.4, RFC 6223).
    Theirs,
}

impl Keepalive {
    const ALL: [Keepalive; 7] = [
        Keepalive::None,
        Keepalive::General,
        Keepalive::Raw,
        Keepalive::Crlf,
        Keepalive::Stun,
        Keepalive::Options,
        Keepalive::Theirs,
    ];

    /// Of a phone that is to be kept reachable, by what its account or its network says.
    #[must_use]
    pub const fn of(form: Option<KeepaliveForm>) -> Keepalive {
        match form {
            None => Keepalive::General,
            Some(KeepaliveForm::Off) => Keepalive::None,
            Some(KeepaliveForm::Raw) => Keepalive::Raw,
            Some(KeepaliveForm::Crlf) => Keepalive::Crlf,
            Some(KeepaliveForm::Stun) => Keepalive::Stun,
            Some(KeepaliveForm::Options) => Keepalive::Options,
        }
    }

    /// What we send, where `message` is what is set for everybody.
    #[must_use]
    pub const fn form(self, message: &KeepaliveMessage) -> KeepaliveForm {
        match self {
            Keepalive::None | Keepalive::Theirs => KeepaliveForm::Off,
            Keepalive::General => message.form(),
            Keepalive::Raw => KeepaliveForm::Raw,
            Keepalive::Crlf => KeepaliveForm::Crlf,
            Keepalive::Stun => KeepaliveForm::Stun,
            Keepalive::Options => KeepaliveForm::Options,
        }
    }

    /// In three bits, as a binding keeps it.
    pub(crate) const fn to_bits(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_bits(bits: u8) -> Keepalive {
        Keepalive::ALL.get(usize::from(bits)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bits_hold_every_one() {
        for keepalive in Keepalive::ALL {
            assert!(keepalive.to_bits() < 8);
            assert_eq!(Keepalive::from_bits(keepalive.to_bits()), keepalive);
        }
        assert_eq!(Keepalive::from_bits(7), Keepalive::None);
    }

    #[test]
    fn what_is_set_for_everybody_holds_where_nothing_else_is_said() {
        let sent = |said, message: KeepaliveMessage| Keepalive::of(said).form(&message);
        let hello = KeepaliveMessage::default;
        assert_eq!(sent(None, hello()), KeepaliveForm::Raw);
        assert_eq!(sent(None, KeepaliveMessage::Options), KeepaliveForm::Options);
        assert_eq!(sent(None, KeepaliveMessage::Off), KeepaliveForm::Off);
        for &form in KeepaliveForm::ALL {
            assert_eq!(sent(Some(form), hello()), form);
        }
        assert_eq!(Keepalive::Theirs.form(&hello()), KeepaliveForm::Off);
    }
}
