//! Why connections end, and why some never begin. Each reason is a counter of its own.

use crate::reactor::counters::Counters;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $counter:ident,)+) => {
        /// Why a connection was closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum CloseReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl CloseReason {
            /// Counts it.
            pub(super) fn count(self, counters: &mut Counters) {
                match self {
                    $(CloseReason::$name => counters.$counter += 1,)+
                }
            }
        }
    };
}

reasons! {
    /// The client closed it.
    ByPeer => closed_by_peer,
    /// It broke: reset, unreachable, timed out by the kernel.
    Broken => closed_broken,
    /// What came in was no SIP.
    Garbage => closed_garbage,
    /// It was HTTP where SIP is spoken: a page in somebody's browser had it sent.
    Http => closed_garbage,
    /// A message was refused behind which the stream could not go on.
    Faulty => closed_faulty,
    /// The TLS handshake failed, or a record was forged.
    Tls => closed_tls,
    /// The request to open a WebSocket was refused.
    UpgradeRefused => closed_upgrade_refused,
    /// The same for its Origin, or because it asked for no WebSocket: that was somebody's browser.
    Foreign => closed_upgrade_refused,
    /// A WebSocket frame that must not be.
    WebSocket => closed_websocket,
    /// No SIP within the time, the handshakes included.
    Silent => closed_silent,
    /// A message that was begun was not finished in time.
    Unfinished => closed_unfinished,
    /// No request passed authentication within the time.
    Unauthenticated => closed_unauthenticated,
    /// Nothing was heard for too long.
    Idle => closed_idle,
    /// It was silent for longer than its client had agreed to.
    Unheard => closed_unheard,
    /// It did not read what was sent to it.
    SlowReader => closed_slow_reader,
    /// Its binding was kicked, and nobody else used it.
    Kicked => closed_kicked,
    /// Nobody who is known spoke over it, and those who are not hear nothing.
    Unauthorized => closed_unauthorized,
    /// It made room for another while it was not authenticated.
    Evicted => closed_evicted,
    /// The process stops.
    Stopping => closed_at_stop,
}

impl CloseReason {
    /// Whether it speaks against whoever came by it, if he has not proved who he is: something that
    /// is no SIP, or was begun and not finished. Who closes it himself has only looked; and a page
    /// that somebody opens has his browser send HTTP wherever it likes.
    pub(super) fn is_offence(self) -> bool {
        use CloseReason::*;
        matches!(self, Garbage | Tls | UpgradeRefused | WebSocket | Silent | Unfinished)
    }

    /// Whether the client is told something last, and so is given the time to hear it.
    pub(super) fn is_told(self) -> bool {
        use CloseReason::*;
        matches!(self, Faulty | Tls | UpgradeRefused | Foreign | WebSocket | Kicked)
    }

    /// The close code of a WebSocket (RFC 6455 7.4.1).
    pub(super) fn websocket_code(self) -> u16 {
        use super::websocket::frames::code;
        match self {
            CloseReason::Stopping => code::GOING_AWAY,
            CloseReason::ByPeer | CloseReason::Idle | CloseReason::Kicked => code::NORMAL,
            _ => code::POLICY,
        }
    }
}
