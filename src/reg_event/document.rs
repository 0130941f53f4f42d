//! The document of a NOTIFY (RFC 3680 5): which contacts stand in it, and how they are written.
//!
//! A full document lists every contact that is there, a partial one those that changed. Contacts
//! that have gone stand in both, so that their phones hear why; where a full one has no room for
//! all of them, their absence says enough. Contacts that are there and find no room follow in
//! partial documents, which is what [`Written`] remembers.

use crate::limits::AOR_BYTES_MAX;
use crate::reg_event::changes::{Change, Changes, ContactEvent, What};
use crate::reg_event::xml::{GROWTH_MAX, escaped};
use crate::registrar::gruu::{GruuText, write_public};
use crate::registrar::{AorId, Binding, BindingId, Registrar};
use crate::sip::header::contact::QValue;
use crate::sip::writer::{Full, Writer};
use crate::time::Now;

/// Whose registrations a document is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub aor: AorId,
    /// Canonical, `user@domain`.
    pub text: &'a [u8],
    pub changes: &'a Changes,
}

/// Which document is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub version: u32,
    pub extent: Extent,
    /// The subscriber has heard of the changes up to this number.
    pub heard: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Every contact.
    Full,
    /// What changed; with it the contacts behind this binding, for which a full document had no
    /// room.
    Partial { rest_behind: Option<BindingId> },
}

/// What a document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its reader has heard of the changes up to this number.
    pub heard: u64,
    /// Contacts behind this binding found no room.
    pub rest_behind: Option<BindingId>,
}

const OPEN: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"";
const CLOSE: &[u8] = b"</registration>\n</reginfo>\n";

/// Most bytes a document has outside its contacts.
pub(super) const FRAME_BYTES_MAX: usize =
    OPEN.len() + CLOSE.len() + GROWTH_MAX * AOR_BYTES_MAX + 128;

/// Appends a document to `out`.
///
/// # Errors
/// [`Full`]: there is not even room for one contact.
pub(super) fn write(
    out: &mut Writer<'_>,
    registrar: &Registrar,
    now: Now,
    subject: &Subject<'_>,
    wanted: &Wanted,
) -> Result<Written, Full> {
    let mut page = Page { out, aor: subject.text, now };
    page.add(|out| open(out, registrar, now, subject, wanted))?;
    let opened = page.out.len();
    let (heard, rest_behind) = match wanted.extent {
        Extent::Full => full(&mut page, registrar, subject, wanted)?,
        Extent::Partial { rest_behind } => {
            partial(&mut page, registrar, subject, wanted, rest_behind)?
        }
    };
    let said_all = rest_behind.is_none() && heard == subject.changes.last();
    if page.out.len() == opened && !said_all {
        return Err(Full);
    }
    page.out.put(CLOSE)?;
    Ok(Written { heard, rest_behind })
}

fn open(
    out: &mut Writer<'_>,
    registrar: &Registrar,
    now: Now,
    subject: &Subject<'_>,
    wanted: &Wanted,
) -> Result<(), Full> {
    let gone = |change: &Change| matches!(change.what, What::Gone { .. });
    // RFC 3680 4.7.1: `terminated` is the moment the last contact goes; an AOR that has none and
    // lost none is in `init`.
    let state: &[u8] = if registrar.bindings(subject.aor, now).next().is_some() {
        b"active"
    } else if subject.changes.since(wanted.heard).any(gone) {
        b"terminated"
    } else {
        b"init"
    };
    out.put(OPEN)?;
    out.number(wanted.version.into())?;
    out.put(if wanted.extent == Extent::Full {
        b"\" state=\"full\">"
    } else {
        b"\" state=\"partial\">"
    })?;
    out.put(b"\n<registration aor=\"sip:")?;
    escaped(out, subject.text)?;
    out.put(b"\" id=\"a")?;
    out.number(subject.aor.0.into())?;
    out.put(b"\" state=\"")?;
    out.put(state)?;
    out.put(b"\">\n")
}

/// What the reader has heard of then, and behind which binding there was no room.
type Progress = (u64, Option<BindingId>);

fn full(
    page: &mut Page<'_, '_>,
    registrar: &Registrar,
    subject: &Subject<'_>,
    wanted: &Wanted,
) -> Result<Progress, Full> {
    // The latest departures first, and never so many that they crowd out what is there.
    let half = page.out.room() / 2;
    for change in subject.changes.since(wanted.heard).rev() {
        let What::Gone { old, event, age_s } = &change.what else { continue };
        if is_back(registrar, change.binding, old) {
            continue;
        }
        if page.out.room() <= half || page.gone(change.binding, old, *event, *age_s).is_err() {
            break;
        }
    }
    let rest_behind = present(page, registrar, subject, None, |_| true)?;
    Ok((subject.changes.last(), rest_behind))
}

/// A binding that had another contact for a while has the old one again: one document says one
/// thing of it.
fn is_back(registrar: &Registrar, id: BindingId, old: &Binding) -> bool {
    registrar.location().binding(id).is_some_and(|now| now.contact() == old.contact())
}

fn partial(
    page: &mut Page<'_, '_>,
    registrar: &Registrar,
    subject: &Subject<'_>,
    wanted: &Wanted,
    rest_behind: Option<BindingId>,
) -> Result<Progress, Full> {
    let mut heard = wanted.heard;
    for change in subject.changes.since(wanted.heard) {
        let written = match &change.what {
            What::Gone { old, .. } if is_back(registrar, change.binding, old) => Ok(()),
            What::Gone { old, event, age_s } => page.gone(change.binding, old, *event, *age_s),
            What::There { came } => {
                let event = match *came > wanted.heard {
                    true => ContactEvent::Registered,
                    false => ContactEvent::Refreshed,
                };
                match registrar.location().binding(change.binding) {
                    Some(binding) => page.present(change.binding, binding, event),
                    None => Ok(()),
                }
            }
        };
        if written.is_err() {
            return Ok((heard, rest_behind));
        }
        heard = change.number;
    }
    let heard = subject.changes.last();
    if rest_behind.is_none() {
        return Ok((heard, None));
    }
    let listed = |id| subject.changes.since(wanted.heard).any(|change| change.binding == id);
    Ok((heard, present(page, registrar, subject, rest_behind, |id| !listed(id))?))
}

/// Writes the contacts that are there, those behind one binding or all; all of them too where that
/// binding has gone. Gives the last one written if there was no room for the next.
fn present(
    page: &mut Page<'_, '_>,
    registrar: &Registrar,
    subject: &Subject<'_>,
    behind: Option<BindingId>,
    choose: impl Fn(BindingId) -> bool,
) -> Result<Option<BindingId>, Full> {
    let now = page.now;
    let bindings = || registrar.bindings(subject.aor, now);
    let skip = behind.and_then(|behind| bindings().position(|(id, _)| id == behind));
    let mut last = behind;
    for (id, binding) in bindings().skip(skip.map_or(0, |at| at + 1)) {
        let event = match binding.refreshed_at() > binding.registered_at() {
            true => ContactEvent::Refreshed,
            false => ContactEvent::Registered,
        };
        if choose(id) && page.present(id, binding, event).is_err() {
            return last.map(Some).ok_or(Full);
        }
        last = Some(id);
    }
    Ok(None)
}

/// The part of a document that is written.
struct Page<'p, 'b> {
    out: &'p mut Writer<'b>,
    aor: &'p [u8],
    now: Now,
}

/// What a contact is besides its binding.
struct State {
    word: &'static str,
    event: ContactEvent,
    age_s: u64,
    expires_s: Option<u32>,
}

impl<'b> Page<'_, 'b> {
    /// Adds a piece whole or not at all; room for the end is kept.
    fn add(&mut self, piece: impl FnOnce(&mut Writer<'b>) -> Result<(), Full>) -> Result<(), Full> {
        let before = self.out.len();
        let written = piece(self.out);
        if written.is_err() || self.out.room() < CLOSE.len() {
            self.out.truncate(before);
            return Err(Full);
        }
        Ok(())
    }

    fn present(
        &mut self,
        id: BindingId,
        binding: &Binding,
        event: ContactEvent,
    ) -> Result<(), Full> {
        let event = if binding.is_static() { ContactEvent::Created } else { event };
        let state = State {
            word: "active",
            event,
            age_s: self.now.mono.saturating_since(binding.registered_at()).as_secs(),
            // What its late margin keeps can be reached, so it must not look as if it had ended.
            expires_s: (!binding.is_static()).then(|| binding.remaining_s(self.now.mono).max(1)),
        };
        let aor = self.aor;
        self.add(|out| contact(out, aor, id, binding, &state))
    }

    fn gone(
        &mut self,
        id: BindingId,
        old: &Binding,
        event: ContactEvent,
        age_s: u64,
    ) -> Result<(), Full> {
        let state = State { word: "terminated", event, age_s, expires_s: None };
        let aor = self.aor;
        self.add(|out| contact(out, aor, id, old, &state))
    }
}

/// One `contact` element (RFC 3680 5.1). A binding may come to have another contact, so both are
/// in the id: a reader sees one go and one come, whichever it goes by.
fn contact(
    out: &mut Writer<'_>,
    aor: &[u8],
    id: BindingId,
    binding: &Binding,
    state: &State,
) -> Result<(), Full> {
    out.put(b"<contact id=\"c")?;
    out.number(id.index.into())?;
    out.put(b".")?;
    out.number(id.generation.into())?;
    out.put(b".")?;
    out.number(fnv1a(binding.contact()).into())?;
    out.put(b"\" state=\"")?;
    out.put(state.word.as_bytes())?;
    out.put(b"\" event=\"")?;
    out.put(state.event.word().as_bytes())?;
    out.put(b"\" duration-registered=\"")?;
    out.number(state.age_s)?;
    if let Some(expires_s) = state.expires_s {
        out.put(b"\" expires=\"")?;
        out.number(expires_s.into())?;
    }
    if let Some(QValue(thousandths)) = binding.q() {
        let t = thousandths.min(1000);
        let digit = |n: u16| b'0' + (n % 10) as u8;
        out.put(b"\" q=\"")?;
        out.put(&[digit(t / 1000), b'.', digit(t / 100), digit(t / 10), digit(t)])?;
    }
    if !binding.is_static() {
        // RFC 3680 5.1 lets it be left out.
        if let Some(call_id) = binding.call_id().text() {
            out.put(b"\" callid=\"")?;
            escaped(out, &call_id)?;
        }
        out.put(b"\" cseq=\"")?;
        out.number(binding.cseq().into())?;
    }
    out.put(b"\"><uri>")?;
    escaped(out, binding.contact())?;
    out.put(b"</uri>")?;
    if let Some(instance) = binding.instance() {
        // As it stood in Contact, quotes included (RFC 5628 5 shows it so).
        out.put(b"<unknown-param name=\"+sip.instance\">&quot;")?;
        escaped(out, &instance.text())?;
        out.put(b"&quot;</unknown-param>")?;
    }
    if let Some(reg_id) = binding.reg_id() {
        out.put(b"<unknown-param name=\"reg-id\">")?;
        out.number(reg_id.into())?;
        out.put(b"</unknown-param>")?;
    }
    // RFC 5628 5: what its phone was given. A temporary GRUU is for its phone alone to give away.
    if let Some(instance) = binding.instance()
        && binding.gruu_epoch() != 0
    {
        let mut gruu = GruuText::new();
        let secure = binding.contact().get(4).is_some_and(|&byte| byte | 0x20 == b's');
        if write_public(aor, secure, &instance.text(), &mut gruu).is_some() {
            out.put(b"<gr:pub-gruu xmlns:gr=\"urn:ietf:params:xml:ns:gruuinfo\" uri=\"")?;
            escaped(out, &gruu)?;
            out.put(b"\"/>")?;
        }
    }
    out.put(b"</contact>\n")
}

/// Tells the contacts of one binding apart, which follow one another.
fn fnv1a(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
