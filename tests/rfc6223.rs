//! RFC 6223 over the whole shard: a phone offers keepalives, and is asked for them.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::Registrar;
use desk::{each_way, registrar};

fn offering(request: &str) -> String {
    request.replacen(";rport", ";rport;keep", 1)
}

fn via(response: &common::Response) -> &str {
    response.header("via").expect("a Via")
}

#[test]
fn s4_3_an_offer_is_answered_in_the_200_with_the_time_between_keepalives() {
    for (flow_timer_s, keep) in [(120, ";keep=120;"), (0, ";keep=0;")] {
        let options = registrar(Registrar { flow_timer_s, ..Registrar::default() });
        each_way(&options, |desk| {
            let mut phone = desk.phone(1, "a");
            let response = desk.ask(&offering(&phone.register(600)));
            assert_eq!(response.status, 200);
            assert!(via(&response).contains(keep), "{}", via(&response));
            let response = desk.ask(&offering(&phone.register(1)));
            assert_eq!(response.status, 423);
            assert!(!via(&response).contains("keep="), "only with a registration");
        });
    }
}

#[test]
fn who_offers_nothing_is_asked_nothing() {
    each_way(&registrar(Registrar::default()), |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&phone.register(600));
        assert!(!via(&response).contains("keep"));
    });
}

#[test]
fn an_offer_is_left_as_it_is_where_keep_is_off() {
    let options = registrar(Registrar { keep: false, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&offering(&phone.register(600)));
        assert_eq!(response.status, 200);
        assert!(!via(&response).contains("keep="), "{}", via(&response));
    });
}
