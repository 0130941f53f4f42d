//! RFC 3608 over the whole shard: Service-Route; and Date of RFC 3261 10.3 step 8.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::Registrar;
use desk::{each_way, registrar};

#[test]
fn s6_3_every_200_names_the_service_route_in_order() {
    let service_route = vec!["sip:edge.example.com;lr".into(), "sip:core.example.com;lr".into()];
    let options = registrar(Registrar { service_route, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&phone.register(600));
        let routes: Vec<_> = response.all("service-route").collect();
        assert_eq!(routes, ["<sip:edge.example.com;lr>", "<sip:core.example.com;lr>"]);
        let response = desk.ask(&phone.register(1));
        assert_eq!((response.status, response.header("service-route")), (423, None));
    });
}

#[test]
fn rfc3261_s10_3_step_8_the_date_is_told_where_it_is_on() {
    let options = registrar(Registrar { date: true, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&phone.register(600));
        assert_eq!(response.header("date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    });
}
