//! `/RPC`: the commands of Kamailio's location table (`ul.*`) as JSON-RPC 2.0, with its parameters
//! and the keys of its answers, so that scripts and panels made for it go on working. Errors of the
//! protocol are those of its specification; those of commands are Kamailio's own.
//!
//! | command | what |
//! |---|---|
//! | `ul.dump [brief] [LIMIT [CURSOR]]` | everybody; more than [`UNPAGED_MAX`] page by page |
//! | `ul.lookup TABLE AOR` | one address-of-record |
//! | `ul.rm TABLE AOR` | takes out all its contacts |
//! | `ul.rm_contact TABLE AOR CONTACT` | takes out one |
//! | `ul.flush` | nothing is written behind, so there is nothing to flush |
//! | `ul.add TABLE AOR CONTACT EXPIRES Q PATH FLAGS CFLAGS METHODS` | puts one in |

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::api::{Api, json as answer};
use super::audit::{Action, Verb};
use super::operator::{Operator, Role};
use super::problem::Problem;
use super::query::PAGE_ROWS_MAX;
use super::registrations::{show, unregister, uri};
use super::routes::Routes;
use super::rpc_contact::contact;
use super::search::{Places, dump, levels};
use crate::shard::control::{Control, Reply};
use crate::shard::put::{Put, Unput};
use crate::shard::registrations::{Chosen, Shown, Unfound};
use crate::sip::uri::Uri;

/// The one table there is.
const TABLE: &str = "location";
/// Contacts that a dump gives without being asked page by page.
const UNPAGED_MAX: u64 = 10_000;
/// Calls of one batch.
const BATCH_MAX: usize = 64;
/// Dumps that are made at a time: each is put together in memory.
static DUMPS: Semaphore = Semaphore::const_new(2);

/// Its path.
pub(super) fn routes() -> Routes {
    Routes::new().post("/RPC", Role::Read, call)
}

/// Why a call fails.
#[derive(Debug)]
struct Fault {
    code: i32,
    message: String,
}

fn fault(code: i32, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into() }
}

const PARSE: i32 = -32_700;
const REQUEST: i32 = -32_600;
const METHOD: i32 = -32_601;
const PARAMS: i32 = -32_602;
/// Of those that are the server's to define: the operator may not.
const DENIED: i32 = -32_001;
/// Of those that are the server's to define: it would be answered at another time.
const BUSY: i32 = -32_002;
/// As Kamailio answers what a command cannot do.
const FAILED: i32 = 500;
const NOT_FOUND: i32 = 404;

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        fault(BUSY, problem.detail())
    }
}

/// `POST /RPC`
async fn call(
    State(api): State<Api>,
    operator: Operator,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(body) = body else {
        let detail = "the body is too long, or broke off";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    };
    let calls = match serde_json::from_slice(&body) {
        Ok(calls) => calls,
        Err(error) => return answer(&failed(&Value::Null, fault(PARSE, error.to_string()))),
    };
    let answers = match calls {
        Value::Array(calls) if calls.is_empty() || calls.len() > BATCH_MAX => {
            let why = fault(REQUEST, format!("a batch has 1 to {BATCH_MAX} calls"));
            return answer(&failed(&Value::Null, why));
        }
        Value::Array(calls) if calls.len() > 1 && calls.iter().any(is_dump) => {
            let why = fault(REQUEST, "ul.dump stands alone: a batch of dumps would be too long");
            return answer(&failed(&Value::Null, why));
        }
        Value::Array(calls) => {
            let mut answers = Vec::new();
            for one in &calls {
                answers.extend(answered(&api, &operator, one).await);
            }
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        one => answered(&api, &operator, &one).await,
    };
    match answers {
        Some(answers) => answer(&answers),
        // Notifications alone are not answered (section 4.1).
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

fn is_dump(call: &Value) -> bool {
    call.get("method").and_then(Value::as_str) == Some("ul.dump")
}

fn failed(id: &Value, Fault { code, message }: Fault) -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id})
}

/// The answer to one call; a notification has none.
async fn answered(api: &Api, operator: &Operator, call: &Value) -> Option<Value> {
    let id = call.get("id");
    let named = call.get("method").and_then(Value::as_str);
    let good_id = id.is_none_or(|id| id.is_null() || id.is_string() || id.is_number());
    let (Some(method), Some("2.0"), true) =
        (named, call.get("jsonrpc").and_then(Value::as_str), good_id)
    else {
        return Some(failed(&Value::Null, fault(REQUEST, "no request of JSON-RPC 2.0")));
    };
    let done = carry_out(api, operator, method, call.get("params")).await;
    let id = id?;
    Some(match done {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result, "id": id}),
        Err(why) => failed(id, why),
    })
}

async fn carry_out(
    api: &Api,
    operator: &Operator,
    method: &str,
    params: Option<&Value>,
) -> Result<Value, Fault> {
    let none = Vec::new();
    let params = match params {
        None => &none,
        Some(Value::Array(list)) => list,
        Some(_) => return Err(fault(PARAMS, "parameters are taken by their place, in an array")),
    };
    if matches!(method, "ul.rm" | "ul.rm_contact" | "ul.add" | "ul.flush")
        && operator.role < Role::Operate
    {
        return Err(fault(DENIED, format!("{method} needs the role {}", Role::Operate)));
    }
    match method {
        "ul.dump" => {
            let _turn = DUMPS
                .try_acquire()
                .map_err(|_| fault(BUSY, "two dumps are under way: ask again when one is done"))?;
            all(api, params).await
        }
        "ul.lookup" => {
            let [aor] = named(params, "table and AOR to lookup")?;
            lookup(api, aor).await
        }
        "ul.rm" => {
            let [aor] = named(params, "table and AOR")?;
            match taken_out(api, operator, aor, Chosen::All).await {
                Ok(_) | Err(Fault { code: NOT_FOUND, .. }) => Ok(json!({})),
                Err(why) => Err(why),
            }
        }
        "ul.rm_contact" => {
            let [aor, contact] = named(params, "table, AOR and contact")?;
            if Uri::parse(contact.as_bytes()).is_err() {
                return Err(fault(PARAMS, "the contact is no URI"));
            }
            match taken_out(api, operator, aor, Chosen::Contact(contact.as_bytes().into())).await? {
                0 => Err(fault(NOT_FOUND, "Contact not found")),
                _ => Ok(json!({})),
            }
        }
        "ul.flush" => Ok(json!({})),
        "ul.add" => add(api, operator, params).await,
        _ => Err(fault(METHOD, "Method Not Found")),
    }
}

/// The texts behind the table, which must be the one there is.
fn named<'a, const N: usize>(params: &'a [Value], needed: &str) -> Result<[&'a str; N], Fault> {
    let missing = || fault(PARAMS, format!("Not enough parameters ({needed})"));
    let mut texts = params.iter().map(|param| param.as_str().ok_or_else(missing));
    let table = texts.next().ok_or_else(missing)??;
    let mut found = [""; N];
    for place in &mut found {
        *place = texts.next().ok_or_else(missing)??;
    }
    if table != TABLE {
        return Err(fault(FAILED, "Domain table not found"));
    }
    Ok(found)
}

/// `ul.dump`
async fn all(api: &Api, params: &[Value]) -> Result<Value, Fault> {
    let (brief, paging) = match params.first().and_then(Value::as_str) {
        Some("brief") => (true, &params[1..]),
        Some("full") => (false, &params[1..]),
        Some(_) => return Err(fault(PARAMS, "expected brief or full")),
        None => (false, params),
    };
    let number = |param: &Value| {
        let text = param.as_str().and_then(|text| text.parse().ok());
        text.or_else(|| param.as_u64().and_then(|number| usize::try_from(number).ok()))
    };
    let limit = match paging.first() {
        None => None,
        Some(param) => {
            Some(number(param).filter(|limit| (1..=PAGE_ROWS_MAX).contains(limit)).ok_or_else(
                || fault(PARAMS, format!("a page has 1 to {PAGE_ROWS_MAX} contacts")),
            )?)
        }
    };
    let mut places = match paging.get(1) {
        None => Places::first(api.shards.count()),
        Some(param) => param
            .as_str()
            .and_then(|text| Places::read(text, api.shards.count()))
            .ok_or_else(|| fault(PARAMS, "the cursor is the Next of the page before"))?,
    };
    let levels = levels(api).await?;
    let contacts: u64 = levels.iter().map(|shard| shard.bindings).sum();
    if limit.is_none() && contacts > UNPAGED_MAX {
        let hint = format!(
            "{contacts} contacts are too many for one answer: ask page by page, with [\"full\" or \
             \"brief\", LIMIT up to {PAGE_ROWS_MAX}] and then the Next of each page behind it"
        );
        return Err(fault(FAILED, hint));
    }
    let mut aors: Vec<(Box<[u8]>, Vec<Value>)> = Vec::new();
    let mut given = 0;
    while places.go_on() && limit.is_none_or(|limit| given < limit) {
        let room = limit.map_or(PAGE_ROWS_MAX, |limit| limit - given);
        for (shard, page) in dump(api, &mut places, room).await? {
            given += page.registrations.len();
            for one in &page.registrations {
                if aors.last().is_none_or(|(aor, _)| *aor != one.aor) {
                    aors.push((one.aor.clone(), Vec::new()));
                }
                if let Some((_, contacts)) = aors.last_mut().filter(|_| !brief) {
                    contacts.push(contact(api, shard, page.now, one));
                }
            }
        }
    }
    let listed = aors.into_iter().map(|(aor, contacts)| {
        let name = String::from_utf8_lossy(&aor);
        match brief {
            true => json!({"AoR": name}),
            false => json!({"Info": {"AoR": name, "HashID": hash(&aor), "Contacts": contacts}}),
        }
    });
    let domain = json!({
        "Domain": TABLE,
        "Size": levels.len(),
        "AoRs": listed.collect::<Vec<Value>>(),
        "Stats": {
            "Records": levels.iter().map(|shard| shard.aors_bound).sum::<u64>(),
            "Max-Slots": levels.iter().map(|shard| shard.aors_bound).max(),
        },
    });
    let mut result = Map::new();
    result.insert("Domains".to_owned(), json!([{"Domain": domain}]));
    if limit.is_some() {
        let next = if places.go_on() { places.text().into() } else { Value::Null };
        result.insert("Next".to_owned(), next);
    }
    Ok(result.into())
}

/// A number for a name, the same in every process (FNV-1a).
fn hash(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// `ul.lookup`
async fn lookup(api: &Api, aor: &str) -> Result<Value, Fault> {
    let (shard, shown) = show(api, aor.as_bytes().into()).await?;
    match shown {
        Ok(Shown { aor, registrations, now }) if !registrations.is_empty() => {
            let contacts = registrations.iter().map(|one| contact(api, shard, now, one));
            let contacts: Vec<Value> = contacts.collect();
            Ok(json!({"AoR": String::from_utf8_lossy(&aor), "Contacts": contacts}))
        }
        Err(Unfound::Malformed) => Err(fault(FAILED, "Domain missing in AOR")),
        _ => Err(fault(FAILED, "AOR not found in location table")),
    }
}

async fn taken_out(
    api: &Api,
    operator: &Operator,
    aor: &str,
    chosen: Chosen,
) -> Result<usize, Fault> {
    match unregister(api, operator, aor.as_bytes().into(), chosen, None).await {
        Ok(gone) => Ok(gone.unregistered),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
            Err(fault(NOT_FOUND, "AOR not found"))
        }
        Err(problem) if problem.status() == StatusCode::BAD_REQUEST => {
            Err(fault(FAILED, "Domain missing in AOR"))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// `ul.add`
async fn add(api: &Api, operator: &Operator, params: &[Value]) -> Result<Value, Fault> {
    let [aor, contact] = named(params, "table, AOR, contact, expires and q")?;
    let missing = || fault(PARAMS, "Not enough parameters (table, AOR, contact, expires and q)");
    let number = |param: &Value| {
        param.as_f64().or_else(|| param.as_str().and_then(|text| text.parse().ok()))
    };
    let expires = number(params.get(3).ok_or_else(missing)?)
        .filter(|seconds| (1.0..=f64::from(u32::MAX)).contains(seconds))
        .ok_or_else(|| fault(PARAMS, "expires: seconds from 1 on"))?;
    let q = number(params.get(4).ok_or_else(missing)?)
        .filter(|q| *q <= 1.0)
        .ok_or_else(|| fault(PARAMS, "q: 0 to 1, or -1 for none"))?;
    let path = params.get(5).and_then(Value::as_str).unwrap_or_default();
    let put = Put {
        aor: aor.as_bytes().into(),
        contact: contact.as_bytes().into(),
        expires_s: expires as u32,
        q_thousandths: (q >= 0.0).then_some((q * 1000.0).round() as u16),
        path: path.as_bytes().into(),
    };
    let done = api.shards.order_owner(Control::Put(put), |reply| match reply {
        Reply::Put(Err(Unput::Unfound(owner @ Unfound::Owner(_)))) => Some(Err(owner)),
        Reply::Put(done) => Some(Ok(done)),
        _ => None,
    });
    let (_, done) = done.await?;
    let action = Action::new(Verb::AddBinding, uri(aor.as_bytes()));
    let action = action.detail(format!("contact {contact}"));
    match done {
        Ok(Ok(())) => {
            api.audit(operator, action);
            Ok(json!({}))
        }
        Ok(Err(why)) => {
            api.audit(operator, action.refused(why.phrase()));
            Err(fault(FAILED, why.phrase()))
        }
        Err(_) => Err(fault(BUSY, "the shards are taking up other settings")),
    }
}
