//! Style sheets, scripts and pictures of the pages, inside the program. The address of each names
//! what is in it, so a browser may keep it for good.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use axum::http::{Response, StatusCode};
use axum::response::Redirect;
use rust_embed::RustEmbed;

use super::super::problem::Problem;

#[derive(RustEmbed)]
#[folder = "src/admin/ui/assets"]
struct Files;

/// One file.
struct Asset {
    bytes: Cow<'static, [u8]>,
    /// The beginning of its SHA-256, hexadecimal.
    tag: String,
    content_type: &'static str,
}

/// Bytes of the hash that stand in an address.
const TAG_BYTES: usize = 8;

static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    let read = |name: Cow<'static, str>| {
        let file = Files::get(&name)?;
        let mut tag = String::with_capacity(2 * TAG_BYTES);
        for byte in &file.metadata.sha256_hash()[..TAG_BYTES] {
            // A string takes everything.
            let _ = write!(tag, "{byte:02x}");
        }
        let content_type = content_type(&name);
        Some((name.into_owned(), Asset { bytes: file.data, tag, content_type }))
    };
    Files::iter().filter_map(read).collect()
});

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

/// The address of a file.
pub(super) fn address(name: &str) -> String {
    let tag = ASSETS.get(name).map_or("", |asset| &asset.tag);
    debug_assert!(!tag.is_empty(), "there is no asset {name}");
    format!("/assets/{tag}/{name}")
}

/// `GET /assets/{tag}/{name}`. A tag that is not this file's is of another version of the program;
/// what is given then is not to be kept under it.
pub(super) async fn file(
    Path((tag, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let Some(asset) = ASSETS.get(&name) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path"));
    };
    let etag = format!("\"{}\"", asset.tag);
    let has_it = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let has_it = has_it
        .flat_map(|list| list.split(','))
        .any(|one| one.trim().trim_start_matches("W/") == etag || one.trim() == "*");
    let mut response = Response::new(match has_it {
        true => Body::empty(),
        false => match &asset.bytes {
            Cow::Borrowed(bytes) => Body::from(*bytes),
            Cow::Owned(bytes) => Body::from(bytes.clone()),
        },
    });
    if has_it {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let keep = match tag == asset.tag {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}

/// `GET /favicon.ico`: what browsers ask for where no page has said otherwise.
pub(super) async fn icon() -> Redirect {
    Redirect::permanent(&address("icon.svg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(tag: &str, name: &str, etag: Option<&str>) -> Result<Response<Body>, Problem> {
        let mut headers = HeaderMap::new();
        headers.extend(etag.map(|etag| (IF_NONE_MATCH, HeaderValue::try_from(etag).unwrap())));
        file(Path((tag.to_owned(), name.to_owned())), headers).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_is_kept_for_good_under_its_own_address_alone() {
        let address = address("app.css");
        let tag = address.split('/').nth(2).unwrap();
        let own = get(tag, "app.css", None).await.unwrap();
        assert_eq!(own.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(own.headers()[CONTENT_TYPE], "text/css; charset=utf-8");
        let etag = own.headers()[ETAG].to_str().unwrap().to_owned();
        let other = get("0000000000000000", "app.css", None).await.unwrap();
        assert_eq!(other.status(), StatusCode::OK);
        assert_eq!(other.headers()[CACHE_CONTROL], "no-cache");
        for shown in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
            let again = get(tag, "app.css", Some(&shown)).await.unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{shown}");
        }
        assert_eq!(get(tag, "app.css", Some("\"x\"")).await.unwrap().status(), StatusCode::OK);
        for name in ["", "nothing.css", "../mod.rs", "vendor"] {
            assert!(get(tag, name, None).await.is_err(), "{name}");
        }
    }

    #[test]
    fn what_others_wrote_comes_with_its_licence() {
        for library in ["htmx", "uPlot"] {
            assert!(ASSETS.contains_key(&format!("vendor/{library}.LICENSE.txt")), "{library}");
        }
    }
}
