//! The pages of the admin interface in a headless Chromium, while phones register: what operators
//! do there, what phones must not be able to do there, and whether everybody can read it. What has
//! to be seen stands in `browser/pages.mjs`; `AORTA_SHOTS=DIRECTORY` keeps a picture of each page.

// The shell's clock is allowed here: deadlines are real time.
#![allow(clippy::disallowed_methods)]

mod common;

#[path = "common/browser.rs"]
mod browser;
#[path = "common/serve.rs"]
mod serve;

use browser::Browser;
use serve::Server;

#[test]
fn operators_find_kick_lift_and_block_in_a_browser() {
    let Some(browser) = Browser::with("axe-core") else { return };
    let arguments = ["--listen", "udp:127.0.0.1:0", "--admin", "127.0.0.1:0", "--reactors", "2"];
    let Some(server) = Server::start(&arguments) else { return };
    let (phones, pages) = (server.targets[0].to_string(), server.targets[1]);
    let said = server.process.err.iter().find_map(|line| line.rsplit_once("with the code "));
    let (_, code) = said.expect("the code that makes the first operator");
    let shots = std::env::var("AORTA_SHOTS").unwrap_or_default();
    browser.run("pages.mjs", &[&format!("http://{pages}"), &phones, code, &shots], 20);
    let counters = server.stop();
    assert_eq!(
        counters.of("removed"),
        5,
        "u3 to u5, u11 and u12 were taken out, once each: {counters:?}"
    );
}
