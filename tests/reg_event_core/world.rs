//! A registrar, the subscriptions to it and a clock that only moves when it is told to.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::{Registrar as Config, StaticContact};
use aorta::flow::{ConnectionId, Flow, Transport};
use aorta::reg_event::{
    Accepted, Answer, LocalTag, Notify, Refusal, Request, Settings, Subscribe, SubscriptionTable,
};
use aorta::registrar::{AorId, Contacts, Event, LeaveReason, Register, Registrar, Which};
use aorta::sip::header::contact;
use aorta::sip::{Framing, HeaderTable, Message, Parsed, parse};
use aorta::time::{Instant, Now, UnixTime};

use crate::document::Notification;

pub const AOR: AorId = AorId(7);
pub const SHARD: u8 = 3;

/// A NOTIFY as it left.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Since the start.
    pub at: Duration,
    pub to: SocketAddr,
    pub flow: Flow,
    pub bytes: Vec<u8>,
    pub notification: Notification,
}

/// Who subscribes, from where.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub call_id: String,
    pub from_tag: String,
    pub cseq: u32,
    pub to_tag: Option<String>,
    pub target: String,
    pub source: SocketAddr,
    pub flow: Flow,
    pub permitted: bool,
    pub local: String,
    pub headers: String,
}

impl Subscriber {
    pub fn new(name: &str, source: &str) -> Subscriber {
        Subscriber {
            call_id: format!("{name}-call"),
            from_tag: format!("{name}-tag"),
            cseq: 0,
            to_tag: None,
            target: format!("sip:{name}@{source}"),
            source: source.parse().unwrap(),
            flow: Flow::Datagram { listener: 0, local_ip: None },
            permitted: true,
            local: "192.0.2.200:5060".into(),
            headers: String::new(),
        }
    }

    pub fn on_connection(self, slot: u32, transport: Transport) -> Subscriber {
        let id = ConnectionId { reactor: 0, slot, generation: 1 };
        Subscriber { flow: Flow::Connection { id, transport }, ..self }
    }

    fn text(&self, expires: Option<u32>) -> String {
        let to_tag = self.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let expires = expires.map(|s| format!("Expires: {s}\r\n")).unwrap_or_default();
        let Subscriber { call_id, from_tag, cseq, target, headers, .. } = self;
        let event = if headers.contains("Event:") { "" } else { "Event: reg\r\n" };
        format!(
            "SUBSCRIBE sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{cseq}\r\n\
             From: <sip:a@example.com>;tag={from_tag}\r\nTo: <sip:a@example.com>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} SUBSCRIBE\r\nMax-Forwards: 70\r\n\
             Contact: <{target}>\r\n{event}{expires}{headers}Content-Length: 0\r\n\r\n"
        )
    }
}

pub struct World {
    pub now: Now,
    start: Now,
    pub registrar: Registrar,
    pub table: SubscriptionTable,
    pub sent: Vec<Sent>,
    fingerprint: u64,
    cseq: u32,
}

/// What a phone registers.
#[derive(Clone, Copy, Debug)]
pub struct Phone<'a> {
    pub contact: &'a str,
    pub call_id: &'a str,
    pub source: &'a str,
    pub user_agent: &'a str,
    /// What stands behind the Contact URI.
    pub params: &'a str,
    /// It asks for GRUUs.
    pub gruu: bool,
}

impl<'a> Phone<'a> {
    pub fn new(contact: &'a str, source: &'a str) -> Phone<'a> {
        Phone { contact, call_id: contact, source, user_agent: source, params: "", gruu: false }
    }
}

impl World {
    pub fn new(bindings_max: u8) -> World {
        World::with(
            Config { bindings_max, expires_spread_percent: 0, ..Config::default() },
            Settings::default(),
        )
    }

    pub fn with(config: Config, settings: Settings) -> World {
        let now = Now { mono: Instant::from_secs(1000), wall: UnixTime(1_800_000_000), wall_us: 0 };
        World {
            now,
            start: now,
            registrar: Registrar::new(config, [1, 2]),
            table: SubscriptionTable::new(settings, SHARD),
            sent: Vec::new(),
            fingerprint: 0,
            cseq: 0,
        }
    }

    pub fn at(&self) -> Duration {
        self.now.mono.saturating_since(self.start.mono)
    }

    /// A REGISTER of one contact; says whether it was accepted.
    pub fn register(&mut self, phone: &Phone<'_>, expires: u32) -> bool {
        self.register_bytes(phone.contact.as_bytes(), phone, expires)
    }

    /// The same with a Contact URI of any bytes that the parser takes.
    pub fn register_bytes(&mut self, uri: &[u8], phone: &Phone<'_>, expires: u32) -> bool {
        let header = [b"<", uri, b">", phone.params.as_bytes()].concat();
        let mut contacts = contact::Contacts::new();
        if contacts.parse([&header[..]]).is_err() {
            return false;
        }
        self.register_contacts(Contacts::List(contacts.as_slice()), phone, expires)
    }

    pub fn unregister_all(&mut self, phone: &Phone<'_>) -> bool {
        self.register_contacts(Contacts::Wildcard, phone, 0)
    }

    fn register_contacts(&mut self, contacts: Contacts<'_>, phone: &Phone<'_>, s: u32) -> bool {
        self.fingerprint += 1;
        self.cseq += 1;
        let register = Register {
            aor: AOR,
            call_id: phone.call_id.as_bytes(),
            cseq: self.cseq,
            contacts,
            expires: Some(s),
            user_agent: phone.user_agent.as_bytes(),
            path: b"",
            source: phone.source.parse().unwrap(),
            fingerprint: self.fingerprint,
            outbound: true,
            gruu: phone.gruu,
            ..Register::default()
        };
        let mut events = Vec::new();
        let accepted = self.registrar.register(self.now, &register, &mut events).is_ok();
        self.tell(&events);
        accepted
    }

    /// The static bindings of the account become these.
    pub fn provide(&mut self, uris: &[&str]) {
        let contact = |uri: &&str| StaticContact { uri: (*uri).into(), q_milli: None };
        let contacts: Vec<_> = uris.iter().map(contact).collect();
        let mut events = Vec::new();
        self.registrar.provide(self.now, AOR, &contacts, &mut events);
        self.tell(&events);
    }

    pub fn force_out(&mut self, which: Which, reason: LeaveReason) {
        let mut events = Vec::new();
        self.registrar.unregister(AOR, which, reason, &mut events);
        self.tell(&events);
    }

    fn tell(&mut self, events: &[Event]) {
        for event in events {
            self.table.on_event(self.now, event);
        }
    }

    /// A SUBSCRIBE with the next CSeq.
    pub fn subscribe(
        &mut self,
        subscriber: &mut Subscriber,
        expires: Option<u32>,
    ) -> Result<Accepted, Refusal> {
        subscriber.cseq += 1;
        self.subscribe_again(subscriber, expires)
    }

    /// A SUBSCRIBE with the same CSeq as the last one.
    pub fn subscribe_again(
        &mut self,
        subscriber: &mut Subscriber,
        expires: Option<u32>,
    ) -> Result<Accepted, Refusal> {
        let result = with(&subscriber.text(expires), |message| {
            let head = message.check_request().expect("a good head");
            let request = Request::read(message, &head)?;
            let identifiers =
                format!("{}{}{}", subscriber.call_id, subscriber.from_tag, head.cseq.number);
            let hash = identifiers.bytes().fold(14_695_981_039_346_656_037u64, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(1_099_511_628_211)
            });
            let subscribe = Subscribe {
                request,
                aor: AOR,
                aor_text: b"a@example.com",
                permitted: subscriber.permitted,
                local_tag: LocalTag(hash),
                local: subscriber.local.as_bytes(),
                source: subscriber.source,
                flow: subscriber.flow,
            };
            self.table.subscribe(self.now, &subscribe)
        });
        if let Ok(accepted) = &result
            && subscriber.to_tag.is_none()
        {
            let tag = accepted.local_tag.text();
            subscriber.to_tag = Some(String::from_utf8(tag.to_vec()).unwrap());
        }
        result
    }

    /// The NOTIFYs that are due now.
    pub fn poll(&mut self) -> Vec<Sent> {
        let mut out = vec![0; 65_535];
        let from = self.sent.len();
        while let Some(Notify { to, flow, len }) =
            self.table.poll_notify(self.now, &self.registrar, &mut out)
        {
            assert!(len <= 65_507, "a datagram carries it");
            let bytes = out[..len].to_vec();
            let notification = Notification::parse(&bytes);
            self.sent.push(Sent { at: self.at(), to, flow, bytes, notification });
            assert!(self.sent.len() - from < 100_000, "the NOTIFYs end");
        }
        self.sent[from..].to_vec()
    }

    /// The one NOTIFY that is due now.
    pub fn one(&mut self) -> Sent {
        let mut sent = self.poll();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    /// An answer to a NOTIFY arrives.
    pub fn answer(&mut self, sent: &Sent, status: u16) {
        self.answer_with(sent, status, "");
    }

    pub fn answer_with(&mut self, sent: &Sent, status: u16, headers: &str) {
        let text = sent.notification.answer(status, headers);
        let answer = with(&text, Answer::read).expect("an answer of ours");
        assert_eq!(answer.branch.shard, SHARD);
        self.table.on_response(self.now, &answer);
    }

    /// The one NOTIFY that is due now, answered.
    pub fn one_heard(&mut self) -> Sent {
        let sent = self.one();
        self.answer(&sent, 200);
        sent
    }

    /// Time passes, and whatever falls due happens; `hear` sees each NOTIFY at its time.
    pub fn pass_with(&mut self, step: Duration, mut hear: impl FnMut(&mut World, &Sent)) {
        let end = self.now.after(step);
        loop {
            let next = [self.table.next_deadline(), self.registrar.next_deadline()];
            let next = next.into_iter().flatten().min().map_or(end.mono, |at| at.min(end.mono));
            self.now = self.now.after(next.saturating_since(self.now.mono));
            let mut events = Vec::new();
            while self.registrar.expire(self.now, 64, &mut events).more {}
            self.tell(&events);
            for sent in self.poll() {
                hear(self, &sent);
            }
            if self.now.mono >= end.mono {
                return;
            }
        }
    }

    /// Time passes, and every NOTIFY is answered.
    pub fn pass(&mut self, seconds: f64) -> Vec<Sent> {
        let from = self.sent.len();
        self.pass_with(Duration::from_secs_f64(seconds), |world, sent| world.answer(sent, 200));
        self.sent[from..].to_vec()
    }

    /// Time passes, and nobody answers.
    pub fn pass_unheard(&mut self, seconds: f64) -> Vec<Sent> {
        let from = self.sent.len();
        self.pass_with(Duration::from_secs_f64(seconds), |_, _| ());
        self.sent[from..].to_vec()
    }
}

fn with<T>(text: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
    let mut table = HeaderTable::new();
    match parse(text.as_bytes(), Framing::Datagram, &mut table) {
        Parsed::Complete { message, .. } => look(message),
        other => panic!("{text}: {other:?}"),
    }
}
