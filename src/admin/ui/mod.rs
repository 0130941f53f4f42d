//! Pages for people: what the API says to machines, in a browser. Rendered here, with templates
//! that are compiled in (`templates/`) and a little script of our own (`assets/app.js`); nothing
//! comes from another host, and every page works without script, but for what moves by itself.
//!
//! A handler calls the same functions as the API's and gives a whole page; a script takes the part
//! it wants out of that. What was refused reads as a page too ([`refusal`]).
//!
//! - `shell`: what all pages have around them; `navigation`: which there are; `form`: what a
//!   browser sends back; `assets`: files; `words`: numbers as text
//! - `rows`: registrations as lines of a table
//! - one file for each page, its template beside the others

mod assets;
mod audit;
mod blocked;
mod breakdown;
mod bulk;
mod events;
mod form;
mod history;
mod latency;
mod login;
mod looks;
mod navigation;
mod online;
mod operators;
mod overview;
mod parameters;
mod refusal;
mod registrations;
mod rows;
mod shell;
mod suspended;
mod trends;
mod words;

use super::operator::Role;
use super::routes::{Needs, Routes};

pub(super) use self::looks::Looks;
pub(super) use self::refusal::for_people;

/// The paths of the pages.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/assets/{tag}/{*name}", Needs::Nothing, assets::file)
        .get("/favicon.ico", Needs::Nothing, assets::icon)
        .get("/login", Needs::Nothing, login::ask)
        .post("/login", Needs::Nothing, login::log_in)
        .get("/setup", Needs::Nothing, login::ask_setup)
        .post("/setup", Needs::Nothing, login::set_up)
        .post("/logout", Role::Read, login::log_out)
        .get("/account", Role::Read, login::show)
        .post("/account", Role::Read, login::change)
        .get("/operators", Role::Admin, operators::show)
        .post("/operators/add", Role::Admin, operators::add)
        .get("/operators/change", Role::Admin, operators::ask)
        .post("/operators/change", Role::Admin, operators::change)
        .post("/operators/token", Role::Admin, operators::make_token)
        .get("/", Role::Read, overview::show)
        .get("/latency", Role::Read, latency::show)
        .get("/trends", Role::Read, trends::show)
        .get("/devices", Role::Read, breakdown::show_devices)
        .get("/geography", Role::Read, breakdown::show_geography)
        .get("/history", Role::Read, history::show)
        .get("/failed", Role::Read, history::show_failed)
        .get("/events", Role::Read, events::show)
        .get("/audit", Role::Admin, audit::show)
        .get("/parameters", Role::Read, parameters::show)
        .get("/parameters/set", Role::Admin, parameters::ask)
        .post("/parameters/set", Role::Admin, parameters::set)
        .get("/parameters/unset", Role::Admin, parameters::ask_unset)
        .post("/parameters/unset", Role::Admin, parameters::unset)
        .get("/unregister", Role::Operate, bulk::ask)
        .post("/unregister", Role::Operate, bulk::carry_out)
        .get("/unregister/run", Role::Read, bulk::show)
        .get("/unregister/cancel", Role::Operate, bulk::ask_cancel)
        .post("/unregister/cancel", Role::Operate, bulk::cancel)
        .get("/registrations", Role::Read, registrations::show)
        .get("/registrations/{aor}", Role::Read, registrations::details)
        .get("/registrations/{aor}/unregister", Role::Operate, registrations::ask)
        .post("/registrations/{aor}/unregister", Role::Operate, registrations::unregister)
        .get("/online", Role::Read, online::show)
        .get("/suspended", Role::Read, suspended::show)
        .get("/suspended/lift", Role::Operate, suspended::ask)
        .post("/suspended/lift", Role::Operate, suspended::lift)
        .get("/blocked", Role::Read, blocked::show)
        .get("/blocked/add", Role::Operate, blocked::ask_add)
        .post("/blocked/add", Role::Operate, blocked::add)
        .get("/blocked/lift", Role::Operate, blocked::ask_lift)
        .post("/blocked/lift", Role::Operate, blocked::lift)
}
