//! The texts of a dialog (RFC 3261 12.1.1), in one allocation. What counts and when it ends is
//! the subscription's.

use crate::reg_event::request::Subscribe;

const TEXTS: usize = 8;
const CALL_ID: usize = 0;
const REMOTE_URI: usize = 1;
const REMOTE_TAG: usize = 2;
const LOCAL_URI: usize = 3;
const TARGET: usize = 4;
const ROUTES: usize = 5;
const EVENT_ID: usize = 6;
const LOCAL: usize = 7;

/// The texts of one dialog.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    texts: Box<[u8]>,
    ends: [u16; TEXTS],
}

impl Dialog {
    /// The dialog that a SUBSCRIBE makes. `Request::read` has seen to the lengths.
    pub fn new(subscribe: &Subscribe<'_>) -> Dialog {
        let request = &subscribe.request;
        let mut routes = Vec::new();
        for route in &request.routes {
            if !routes.is_empty() {
                routes.push(b',');
            }
            routes.extend_from_slice(route.text);
        }
        Dialog::of([
            request.call_id,
            request.from_uri,
            request.from_tag,
            request.to_uri,
            request.target.unwrap_or_default(),
            &routes,
            request.event_id,
            subscribe.local,
        ])
    }

    /// The dialog after a target refresh request (RFC 3261 12.2.2): the route set stays.
    pub fn refreshed(&self, subscribe: &Subscribe<'_>) -> Dialog {
        let mut texts = std::array::from_fn(|which| self.text(which));
        if let Some(target) = subscribe.request.target {
            texts[TARGET] = target;
        }
        texts[LOCAL] = subscribe.local;
        Dialog::of(texts)
    }

    fn of(texts: [&[u8]; TEXTS]) -> Dialog {
        let mut at = 0;
        let ends = texts.map(|text| {
            at += text.len();
            u16::try_from(at).expect("lengths are limited where they come in")
        });
        Dialog { texts: texts.concat().into_boxed_slice(), ends }
    }

    fn text(&self, which: usize) -> &[u8] {
        let start = if which == 0 { 0 } else { usize::from(self.ends[which - 1]) };
        &self.texts[start..usize::from(self.ends[which])]
    }

    pub fn call_id(&self) -> &[u8] {
        self.text(CALL_ID)
    }

    /// URI of the subscriber's From.
    pub fn remote_uri(&self) -> &[u8] {
        self.text(REMOTE_URI)
    }

    /// Empty: the subscriber has none.
    pub fn remote_tag(&self) -> &[u8] {
        self.text(REMOTE_TAG)
    }

    /// URI of the subscriber's To.
    pub fn local_uri(&self) -> &[u8] {
        self.text(LOCAL_URI)
    }

    pub fn target(&self) -> &[u8] {
        self.text(TARGET)
    }

    /// Entries with commas between; empty: none.
    pub fn routes(&self) -> &[u8] {
        self.text(ROUTES)
    }

    pub fn event_id(&self) -> &[u8] {
        self.text(EVENT_ID)
    }

    /// `host` or `host:port` of ours.
    pub fn local(&self) -> &[u8] {
        self.text(LOCAL)
    }
}
