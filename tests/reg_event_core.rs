//! The event package `reg`, rule by rule, against a registrar and a virtual clock.

#[path = "reg_event_core/asked.rs"]
mod asked;
#[path = "reg_event_core/document.rs"]
mod document;
#[path = "reg_event_core/sent.rs"]
mod sent;
#[path = "reg_event_core/told.rs"]
mod told;
#[path = "reg_event_core/world.rs"]
mod world;

use world::{Phone, Sent, Subscriber, World};

const DESK: Phone<'static> = Phone {
    contact: "sip:a@192.0.2.1:5060",
    call_id: "desk",
    source: "192.0.2.1:5060",
    user_agent: "Desk",
    params: ";q=0.5;+sip.instance=\"<urn:uuid:1>\"",
    gruu: false,
};
const MOBILE: Phone<'static> = Phone {
    contact: "sip:a@198.51.100.2:6000",
    call_id: "mobile",
    source: "198.51.100.2:6000",
    user_agent: "Mobile",
    params: "",
    gruu: false,
};

fn watcher() -> Subscriber {
    Subscriber::new("w", "203.0.113.9:5070")
}

/// A world with a watcher who has heard everything, and whose pace allows the next.
fn watched(bindings_max: u8) -> (World, Subscriber) {
    let mut world = World::new(bindings_max);
    let mut w = watcher();
    world.subscribe(&mut w, Some(3600)).unwrap();
    world.one_heard();
    world.pass(6.0);
    (world, w)
}

fn state(sent: &Sent) -> &str {
    sent.notification.header("Subscription-State")
}
