//! What the API server answers, byte by byte.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;

use super::{NAMESPACE, Shared, now};

fn status(code: u16, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "", "code": code,
    })
}

/// One request: its token, and its query by name.
struct Request {
    token: String,
    path: String,
    query: BTreeMap<String, String>,
}

async fn request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let target = lines[0].split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded = |text: &str| text.replace("%3D", "=").replace("%2C", ",").replace('+', " ");
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
    let token = lines.iter().find_map(|line| line.strip_prefix("authorization: Bearer "));
    Some(Request { token: token.unwrap_or_default().to_owned(), path: path.to_owned(), query })
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await?;
    stream.flush().await
}

pub(super) async fn connection(shared: Arc<Shared>, tls: TlsAcceptor, stream: TcpStream) {
    let mut changed = shared.changed.subscribe();
    let cut = now(&shared).cut;
    let is_cut = async {
        while now(&shared).cut == cut {
            changed.changed().await.unwrap();
        }
    };
    let serve = async {
        let Ok(stream) = tls.accept(stream).await else { return };
        let mut stream = BufReader::new(stream);
        while let Some(request) = request(&mut stream).await {
            if serve(&shared, &mut stream, request, cut).await.is_none() {
                return;
            }
        }
    };
    tokio::select! {
        () = is_cut => {}
        () = serve => {}
    }
}

async fn serve(
    shared: &Shared,
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    request: Request,
    cut: u64,
) -> Option<()> {
    let watches = request.query.contains_key("watch");
    let verb = if watches { "watch" } else { "list" };
    let wanted = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
    let known_labels = request.query.get("labelSelector").is_some_and(|labels| labels == "app=peat-mesh");
    let refusal = {
        let mut state = now(shared);
        let version = request.query.get("resourceVersion").cloned().unwrap_or_default();
        state.requests.push(format!("{verb} {version} with {}", request.token));
        let is_gone = watches && state.gone_is_a_status && version.parse::<u64>().unwrap() < state.oldest;
        match () {
            () if state.mute => None,
            () if request.path != wanted || !known_labels => {
                Some(status(404, "there is only one thing here"))
            }
            () if request.token != state.token => Some(status(401, "Unauthorized")),
            () if state.forbidden == Some(verb) => Some(status(
                403,
                &format!(
                    "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:fleet:default\" \
                     cannot {verb} resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \
                     \"{NAMESPACE}\""
                ),
            )),
            () if is_gone => Some(status(410, "too old resource version")),
            () if !watches => {
                let list = state.list(&request.query);
                Some(list)
            }
            () => None,
        }
    };
    shared.changed.send_modify(|count| *count += 1);
    if let Some(body) = refusal {
        let code = body["code"].as_u64().unwrap_or(200) as u16;
        return answer(stream, code, &body).await.ok();
    }
    if now(shared).mute {
        std::future::pending::<()>().await;
    }
    follow(shared, stream, &request, cut).await.ok()
}

/// A watch. Ends after its time, like that of a real server.
async fn follow(
    shared: &Shared,
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    cut: u64,
) -> std::io::Result<()> {
    assert_eq!(request.query["allowWatchBookmarks"], "true");
    let mut version: u64 = request.query["resourceVersion"].parse().unwrap();
    let seconds: u64 = request.query["timeoutSeconds"].parse().unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut changed = shared.changed.subscribe();
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    stream.flush().await?;
    let is_short = {
        let mut state = now(shared);
        let is_short = state.short_watches > 0;
        state.short_watches = state.short_watches.saturating_sub(1);
        is_short
    };
    if is_short {
        return last_chunk(stream).await;
    }
    loop {
        let (lines, is_gone, is_mute) = {
            let state = now(shared);
            if state.cut != cut {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            let is_gone = version < state.oldest;
            let mut lines = Vec::new();
            if is_gone {
                lines.push(json!({"type": "ERROR", "object": status(410, "too old resource version")}));
            }
            let after = version;
            for (at, kind, object) in state.events.iter().filter(|(at, ..)| *at > after && !is_gone) {
                lines.push(json!({"type": kind, "object": object}));
                version = *at;
            }
            (lines, is_gone, state.mute)
        };
        if is_mute {
            std::future::pending::<()>().await;
        }
        for line in lines {
            let line = format!("{line}\n");
            stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
            stream.flush().await?;
        }
        if is_gone {
            break;
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = sleep_until(end) => break,
        }
    }
    last_chunk(stream).await
}

async fn last_chunk(stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    stream.write_all(b"0\r\n\r\n").await?;
    stream.flush().await
}
