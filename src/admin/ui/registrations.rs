//! `/registrations`: who is registered, by filters that stand in the address; everything about one
//! account; and taking registrations out, once that was asked and answered.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::filters::Filters;
use super::super::history;
use super::super::operator::Operator;
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::registrations::{self, account_of};
use super::super::search;
use super::form::{Form, filled_in};
use super::history::Line as Event;
use super::rows::{Line, address, facts, look, unregister_address};
use super::shell::{Confirm, Outcome, Shell, page};
use super::words;
use crate::shard::registrations::Chosen;
use crate::store::history::Asked;

/// Rows of a page unless asked otherwise.
const ROWS: usize = 50;
/// What happened lately, as the details show it.
const EVENTS: usize = 12;

/// One field of the form of filters.
struct Field {
    name: &'static str,
    label: &'static str,
    example: &'static str,
    value: String,
}

/// Fields that are always shown, and those for who wants more.
const FIELDS: [(&str, &str, &str); 3] = [
    ("number", "Number", "1001, 10*, 1001,1002"),
    ("ip", "Address or network", "192.0.2.7, 192.168.1.x"),
    ("user_agent", "User agent has", "Yealink"),
];
const MORE_FIELDS: [(&str, &str, &str); 7] = [
    ("account", "Account", "1001@example.com"),
    ("domain", "Domain", "example.com"),
    ("contact", "Contact", "sip:1001@10.0.0.7:5060"),
    ("age_min", "Registered for at least", "10m, 2h, 7d"),
    ("age_max", "Registered for at most", "10m"),
    ("idle_min", "Not refreshed for", "30m"),
    ("idle_max", "Refreshed within", "90s"),
];

/// One choice of several, as a list to choose from.
struct Choices {
    name: &'static str,
    label: &'static str,
    options: Vec<(&'static str, &'static str, bool)>,
}

/// A value and its label.
type Choice = (&'static str, &'static str);

const CHOICES: [(&str, &str, &[Choice]); 3] = [
    (
        "status",
        "Status",
        &[
            ("", "any"),
            ("registered", "registered"),
            ("expiring", "expiring"),
            ("unreachable", "unreachable"),
            ("unregistered", "not registered"),
        ],
    ),
    (
        "transport",
        "Transport",
        &[
            ("", "any"),
            ("udp", "UDP"),
            ("tcp", "TCP"),
            ("tls", "TLS"),
            ("ws", "WS"),
            ("wss", "WSS"),
        ],
    ),
    ("nat", "NAT", &[("", "any"), ("true", "behind NAT"), ("false", "not behind NAT")]),
];

#[derive(Template)]
#[template(path = "registrations.html")]
struct Page {
    shell: Shell,
    fields: Vec<Field>,
    more_fields: Vec<Field>,
    more_open: bool,
    choices: Vec<Choices>,
    is_filtered: bool,
    /// The same as a file, and taking all of them out.
    exports: Vec<(&'static str, String)>,
    unregister: Option<String>,
    counted: String,
    lines: Vec<Line>,
    partial: bool,
    next: Option<String>,
    /// The first page of the same, where this is another.
    first: Option<String>,
}

/// `GET /registrations`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &Filters::names_and(&["limit", "cursor"]))?;
    let filters = Filters::read(&query)?;
    let (found, counted) = tokio::join!(
        search::page(&api, &filters, query.value("cursor"), limit(&query)?),
        search::count(&api, &filters)
    );
    let (found, counted) = (found?, counted?);
    let fields = |list: &[(&'static str, &'static str, &'static str)]| {
        let field = |&(name, label, example): &(&'static str, &'static str, &'static str)| Field {
            name,
            label,
            example,
            value: filters.value(name).unwrap_or_default().to_owned(),
        };
        list.iter().map(field).collect::<Vec<_>>()
    };
    let choices = CHOICES.map(|(name, label, options)| {
        let given = filters.value(name).unwrap_or_default();
        let one = |&(value, label): &Choice| (value, label, value == given);
        Choices { name, label, options: options.iter().map(one).collect() }
    });
    let more_fields = fields(&MORE_FIELDS);
    page(&Page {
        shell,
        fields: fields(&FIELDS),
        more_open: more_fields.iter().any(|field| !field.value.is_empty()),
        more_fields,
        choices: choices.into(),
        is_filtered: !filters.is_empty(),
        exports: [("CSV", "csv"), ("JSON lines", "jsonl")]
            .map(|(label, format)| {
                let path = follow("/api/v1/registrations/export", &filters, None);
                let glue = if filters.is_empty() { '?' } else { '&' };
                (label, format!("{path}{glue}format={format}"))
            })
            .into(),
        unregister: (!filters.is_empty() && !filters.is_for_absent())
            .then(|| follow("/unregister", &filters, None)),
        counted: how_many(counted.count, counted.estimated, filters.is_for_absent()),
        next: found.next.as_deref().map(|next| follow("/registrations", &filters, Some(next))),
        first: query.value("cursor").map(|_| follow("/registrations", &filters, None)),
        partial: found.partial,
        lines: Line::lines(found.items),
    })
}

/// How many rows a page has.
pub(super) fn limit(query: &Query) -> Result<usize, Problem> {
    if query.value("limit").is_some() { query.limit() } else { Ok(ROWS) }
}

fn how_many(count: u64, estimated: bool, absent: bool) -> String {
    let about = if estimated { "about " } else { "" };
    let (one, more) = match absent {
        true => ("account without a registration", "accounts without a registration"),
        false => ("registration", "registrations"),
    };
    match count {
        1 => format!("{about}1 {one}"),
        many => format!("{about}{} {more}", words::count(many)),
    }
}

/// The address of a page of the same filters.
pub(super) fn follow(path: &str, filters: &Filters, cursor: Option<&str>) -> String {
    let mut query = filters.to_query();
    if let Some(cursor) = cursor {
        let cursor: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        query = format!("{query}{}cursor={cursor}", if query.is_empty() { "" } else { "&" });
    }
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// One registration with all it has.
struct Card {
    title: String,
    status: &'static str,
    look: &'static str,
    facts: Vec<(&'static str, String)>,
    unregister: Option<String>,
}

#[derive(Template)]
#[template(path = "registration.html")]
struct Details {
    shell: Shell,
    account: String,
    /// What happened to it lately; nothing where no history is kept.
    events: Vec<Event>,
    cards: Vec<Card>,
    unregister_all: Option<String>,
}

/// `GET /registrations/{aor}`
pub(super) async fn details(
    shell: Shell,
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let account = registrations::details(&api, account_of(path)?).await?;
    let (name, now) = (words::bare(&account.aor).to_owned(), words::now());
    let unregister = unregister_address(&name);
    let registered = account.items.iter().filter(|row| !row.provided).count();
    let asked = Asked { limit: EVENTS, ..Asked::default() };
    let found = history::of_account(&api, &name, asked).await;
    let events = found.map_or_else(|_| Vec::new(), |found| found.items);
    let card = |row: &super::super::row::Row| Card {
        title: row.contact.clone().unwrap_or_default(),
        status: if row.provided { "provided" } else { row.status },
        look: look(row.status),
        facts: facts(now, row),
        unregister: row
            .binding
            .as_ref()
            .filter(|_| !row.provided)
            .map(|binding| format!("{unregister}?binding={binding}")),
    };
    page(&Details {
        shell,
        cards: account.items.iter().map(card).collect(),
        events: events.into_iter().map(|row| Event::new(now, row)).collect(),
        account: name,
        unregister_all: (registered > 1).then(|| unregister.clone()),
    })
}

/// Which registrations are meant.
fn chosen(query: &Query) -> Result<Chosen, Problem> {
    let binding = query.binding()?;
    Ok(binding.map_or(Chosen::All, |(shard, id)| Chosen::Binding(shard, id)))
}

/// `GET /registrations/{aor}/unregister`: asks first.
pub(super) async fn ask(
    shell: Shell,
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["binding"])?;
    chosen(&query)?;
    let account = registrations::details(&api, account_of(path)?).await?;
    let name = words::bare(&account.aor).to_owned();
    let binding = query.value("binding");
    let leaving = |row: &&super::super::row::Row| {
        !row.provided && binding.is_none_or(|binding| row.binding.as_deref() == Some(binding))
    };
    let leaving: Vec<_> = account.items.iter().filter(leaving).collect();
    let mut lines = vec![match leaving.len() {
        0 => format!("{name} has no such registration any more."),
        1 => format!("{name} is unregistered at this contact:"),
        many => format!("{name} loses all of its {many} registrations:"),
    }];
    lines.extend(leaving.iter().map(|row| {
        let whence = row.received.as_deref().unwrap_or_default();
        format!("{} from {whence}", row.contact.as_deref().unwrap_or_default())
    }));
    lines.push("The phone may register again when it likes.".into());
    page(&Confirm {
        shell,
        title: "Unregister".into(),
        lines,
        action: unregister_address(&name),
        fields: binding.map(|binding| ("binding", binding.to_owned())).into_iter().collect(),
        doing: "Unregister",
        dangerous: true,
        reason: true,
        back: address(&name),
    })
}

/// `POST /registrations/{aor}/unregister`
pub(super) async fn unregister(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let query = form.read(&["binding", "reason"])?;
    let (aor, chosen, reason) = (account_of(path)?, chosen(&query)?, query.reason()?);
    let gone = registrations::unregister(&api, &operator, aor, chosen, reason).await?;
    let name = words::bare(&gone.aor).to_owned();
    let title = match gone.unregistered {
        0 => format!("{name} had no such registration any more"),
        1 => format!("{name} is unregistered"),
        many => format!("{many} registrations of {name} are gone"),
    };
    let stays = gone.provided > 0;
    let lines = if stays {
        let many = gone.provided;
        vec![format!("{many} stay, since the account has them without registering.")]
    } else {
        Vec::new()
    };
    page(&Outcome { shell, title, lines, stays, back: "/registrations".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_same_filters_keeps_them() {
        let filters = Filters::parse("number=10*&user_agent=a%26b").unwrap();
        let next = follow("/registrations", &filters, Some("1-5&x"));
        assert_eq!(next, "/registrations?number=10*&user_agent=a%26b&cursor=1-5%26x");
        assert_eq!(follow("/online", &Filters::default(), None), "/online");
        assert_eq!(follow("/online", &Filters::default(), Some("1")), "/online?cursor=1");
    }

    #[test]
    fn every_field_is_a_filter() {
        let mut names: Vec<&str> = FIELDS.iter().chain(&MORE_FIELDS).map(|one| one.0).collect();
        names.extend(CHOICES.iter().map(|one| one.0));
        assert!(names.iter().all(|name| Filters::NAMES.contains(name)), "{names:?}");
        let shown = |(name, _, options): &(&str, &str, &[Choice])| {
            let read = |value: &str| Filters::parse(&format!("{name}={value}")).is_ok();
            options.iter().all(|(value, _)| read(value))
        };
        assert!(CHOICES.iter().all(shown));
    }

    #[test]
    fn a_number_says_whether_it_is_one() {
        assert_eq!(how_many(1, false, false), "1 registration");
        assert_eq!(how_many(1_000_000, true, false), "about 1,000,000 registrations");
        assert_eq!(how_many(2, false, true), "2 accounts without a registration");
    }
}
