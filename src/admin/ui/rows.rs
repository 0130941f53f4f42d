//! Registrations as lines of a table, and one of them with all it has.

use super::super::row::Row;
use super::words::{self, Ago};
use crate::time::UnixTime;

/// A registration in a table, or an account without one.
pub(super) struct Line {
    /// The name of its row, for the keyboard and for what is taken anew.
    pub id: String,
    pub number: String,
    pub domain: String,
    pub account: String,
    /// Where everything about it is.
    pub details: String,
    pub status: &'static str,
    pub look: &'static str,
    pub received: String,
    pub transport: &'static str,
    pub nat: bool,
    pub user_agent: String,
    pub remaining: String,
    pub granted: String,
    pub since: Option<Ago>,
    pub refreshed: Option<Ago>,
    pub round_trip: String,
    /// Where it can be taken out; what an account provides cannot.
    pub unregister: Option<String>,
}

impl Line {
    pub fn new(now: UnixTime, row: Row) -> Line {
        let some_seconds = |seconds: Option<u32>| {
            seconds.map_or_else(String::new, |seconds| words::duration(seconds.into()))
        };
        let unregister = row
            .binding
            .as_ref()
            .filter(|_| !row.provided)
            .map(|binding| format!("{}?binding={binding}", unregister_address(&row.account)));
        Line {
            id: match &row.binding {
                Some(binding) => format!("r-{binding}"),
                None => format!("a-{}-{}", row.shard, escaped(&row.account)),
            },
            details: address(&row.account),
            status: if row.provided { "provided" } else { row.status },
            look: look(row.status),
            received: row.received.unwrap_or_default(),
            transport: row.transport.unwrap_or_default(),
            nat: row.nat,
            user_agent: row.user_agent.unwrap_or_default(),
            remaining: some_seconds(row.remaining_s),
            granted: some_seconds(row.granted_s),
            since: row.registered_at.map(|when| Ago::new(now, &when)),
            refreshed: row.refreshed_at.map(|when| Ago::new(now, &when)),
            round_trip: row.round_trip_ms.map_or_else(String::new, words::millis),
            unregister,
            number: row.number,
            domain: row.domain,
            account: row.account,
        }
    }

    pub fn lines(rows: Vec<Row>) -> Vec<Line> {
        let now = words::now();
        rows.into_iter().map(|row| Line::new(now, row)).collect()
    }
}

/// How a status is marked; the word stands beside the colour.
pub(super) fn look(status: &str) -> &'static str {
    match status {
        "registered" => "good",
        "expiring" => "warn",
        "unreachable" => "bad",
        _ => "none",
    }
}

/// Everything that is known of a registration, each with its name.
pub(super) fn facts(now: UnixTime, row: &Row) -> Vec<(&'static str, String)> {
    let mut facts: Vec<(&'static str, String)> = Vec::new();
    let mut fact = |name, value: Option<String>| {
        facts.extend(value.filter(|value| !value.is_empty()).map(|value| (name, value)));
    };
    let seconds = |seconds: u32| words::duration(seconds.into());
    let moment = |when: &String| format!("{} ({when})", Ago::new(now, when).text);
    fact("Contact", row.contact.clone());
    fact("Received from", row.received.clone());
    fact("Transport", row.transport.map(str::to_owned));
    fact("Flow", row.flow.clone());
    fact("Behind NAT", row.nat.then(|| "yes".to_owned()));
    fact("User agent", row.user_agent.clone());
    let late = if row.late { ", late" } else { "" };
    fact("Ends in", row.remaining_s.map(|left| format!("{}{late}", seconds(left))));
    fact("Granted", row.granted_s.map(seconds));
    fact("Registered", row.registered_at.as_ref().map(moment));
    fact("Last refresh", row.refreshed_at.as_ref().map(moment));
    let last = row.round_trip_last_ms.map_or_else(String::new, words::millis);
    let trip = |ms: f64| format!("{}, the last {last}", words::millis(ms));
    fact("Round trip", row.round_trip_ms.map(trip));
    let missed = row.probes_missed.filter(|missed| *missed > 0);
    fact("Probes missed", missed.map(|missed| format!("{missed} in a row")));
    fact("In a call", row.in_call.then(|| "yes".to_owned()));
    fact("Path", row.path.clone());
    fact("Instance", row.instance.clone());
    fact("reg-id", row.reg_id.map(|id| id.to_string()));
    fact("q", row.q.map(|q| q.to_string()));
    fact("Call-ID", row.call_id.clone());
    fact("CSeq", row.cseq.map(|number| number.to_string()));
    fact("Shard", Some(row.shard.to_string()));
    fact("Name", row.binding.clone());
    facts
}

fn escaped(text: &str) -> String {
    // Whatever a path segment may not have is escaped; a space becomes `+`, which it may not mean.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Where everything about an account is.
pub(super) fn address(account: &str) -> String {
    format!("/registrations/{}", escaped(account))
}

/// Where registrations of an account are taken out.
pub(super) fn unregister_address(account: &str) -> String {
    format!("{}/unregister", address(account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ShardId;

    fn row(account: &str) -> Row {
        Row {
            binding: Some("0-7-1".into()),
            contact: Some("sip:<script>@192.0.2.7".into()),
            status: "expiring",
            remaining_s: Some(90),
            nat: true,
            ..Row::absent(ShardId(1), account.as_bytes())
        }
    }

    #[test]
    fn an_account_stands_in_an_address_whatever_it_is_called() {
        let line = Line::new(UnixTime(0), row("+49 30/1?x#y%@example.com"));
        assert_eq!(line.details, "/registrations/%2B49%2030%2F1%3Fx%23y%25%40example.com");
        assert_eq!(line.unregister.unwrap(), format!("{}/unregister?binding=0-7-1", line.details));
    }

    #[test]
    fn what_an_account_provides_cannot_be_taken_out() {
        let provided = Row { provided: true, ..row("a@b") };
        let line = Line::new(UnixTime(0), provided);
        assert_eq!((line.unregister, line.status), (None, "provided"));
        let absent = Line::new(UnixTime(0), Row::absent(ShardId(0), b"a@b"));
        assert_eq!((absent.unregister, absent.status), (None, "unregistered"));
    }

    #[test]
    fn facts_are_those_that_are_known() {
        let facts = facts(UnixTime(0), &row("a@b"));
        let of = |name| facts.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        assert_eq!(of("Ends in").unwrap(), "1 min 30 s");
        assert_eq!(of("Behind NAT").unwrap(), "yes");
        assert_eq!((of("Path"), of("Round trip"), of("Probes missed")), (None, None, None));
    }
}
