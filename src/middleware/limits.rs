//! How much of a request is read, and how long is it waited for? (RFC 9110 §15.5.9, §15.5.14; RFC 6585 §5)
//!
//! The body is read here, whole, before anything else looks at the request: too much of it is 413 before
//! any secret is checked, too slow is 408, and handlers find it in memory. What all bodies take together is
//! bounded, and so is what one network's take: whoever sends many at once and ends none is told to come
//! again, and leaves room for others. Those whose bodies come with their heads have room of their own. A body that
//! nobody asks for is not read at all.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::error::{OAuthError, RETRY_AFTER};
use crate::extract::request_context::{Peer, limited_network};
use crate::resource;
use crate::room::{Full, Part, Room};
use crate::router::is_api;
use crate::state::AppState;

/// A body that comes with its head is here by then, and one that is not is slow.
const PROMPT: Duration = Duration::from_millis(20);
/// A slow body that is not here by then is not coming.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of all headers together.
const LONGEST_HEADERS: usize = 32 * 1024;
/// Bytes of all bodies together that come at once: some seven hundred that are being read, or twelve thousand that
/// have been.
const PROMPT_BODIES: usize = 12 << 20;
/// And of all others: some five hundred that are on their way at once.
const SLOW_BODIES: usize = 8 << 20;
/// One network may have one of so many parts of it: more than a company behind one address sends at once.
const NETWORKS: usize = 8;
/// What a request takes beside its body until that has arrived, and whoever sends it decides when: a task
/// and a stream.
const ON_ITS_WAY: usize = 16 * 1024;
/// Room is taken in steps; most bodies fit into the first.
const STEP: usize = 1024;
/// Each step after it.
const PIECE: usize = 8 * 1024;

/// The room for bodies. However many are slow, who is not finds room.
#[derive(Clone, Debug)]
pub struct Bodies {
    prompt: Room,
    slow: Room,
}

impl Bodies {
    /// Of which the largest has so many bytes.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        // Whatever was configured: one network can send one of the largest.
        let least = largest.saturating_mul(2).saturating_add(ON_ITS_WAY);
        let room = |all: usize| {
            let each = (all / NETWORKS).max(least);
            Room::new(each.saturating_mul(NETWORKS), each)
        };
        Self { prompt: room(PROMPT_BODIES), slow: room(SLOW_BODIES) }
    }

    /// How many bytes are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.prompt.in_use() + self.slow.in_use()
    }
}

/// Refuses what is too large or too slow.
pub async fn enforce(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_api = is_api(request.uri().path());
    match read_body(&state, request).await {
        Ok(Read { request, is_whole, part: _part }) => {
            let mut response = next.run(request).await;
            if is_whole {
                response.extensions_mut().insert(WholeRead);
            }
            response
        }
        Err(refused) => {
            if let TooMuch::Room(full) = refused {
                state.metrics.shed(full.limit("bodies", "network_bodies"));
            }
            refused.answer(is_api)
        }
    }
}

/// Says that nothing of the request is still on its way.
#[derive(Clone, Copy)]
struct WholeRead;

/// Around everything: a request whose body was not read is the last of its connection, whoever answered it.
/// What is left of it must not be taken for the next one.
pub async fn close_unread(request: Request, next: Next) -> Response {
    // On HTTP/2 each request has a stream of its own.
    let has_framing = request.version() < Version::HTTP_2;
    let has_body = !request.body().is_end_stream();
    // Where such a body ends is what request smuggling is about: nothing is read after it.
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    let is_unread = has_body && response.extensions().get::<WholeRead>().is_none();
    if has_framing && (is_chunked || is_unread) {
        close(&mut response);
    }
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TooMuch {
    Headers,
    Body,
    Time,
    Broken,
    Room(Full),
}

/// A request as handlers get it.
struct Read {
    request: Request,
    is_whole: bool,
    /// For as long as a handler has the body.
    part: Part,
}

async fn read_body(state: &AppState, request: Request) -> Result<Read, TooMuch> {
    let limit = state.config.limits.body;
    if headers_length(request.headers()) > LONGEST_HEADERS {
        return Err(TooMuch::Headers);
    }
    let peer = request.extensions().get::<Peer>();
    let network =
        peer.and_then(|peer| limited_network(peer.0, request.headers(), &state.config.trusted_proxies));
    let mut part = state.bodies.prompt.part(network);
    if request.body().is_end_stream() {
        return Ok(Read { request, is_whole: true, part });
    }
    let is_asked_for = is_asked_for(&request);
    let (parts, mut body) = request.into_parts();
    if !is_asked_for {
        return Ok(Read { request: Request::from_parts(parts, Body::empty()), is_whole: false, part });
    }
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(TooMuch::Body);
    }
    let mut arrived = Arrived::default();
    let mut on_its_way = state.bodies.prompt.part(network);
    on_its_way.grow(ON_ITS_WAY).map_err(TooMuch::Room)?;
    if let Ok(read) = timeout(PROMPT, arrived.read(&mut body, limit, &mut part)).await {
        read?;
    } else {
        on_its_way = on_its_way.moved_to(&state.bodies.slow).map_err(TooMuch::Room)?;
        part = part.moved_to(&state.bodies.slow).map_err(TooMuch::Room)?;
        let read = timeout(BODY_TIMEOUT, arrived.read(&mut body, limit, &mut part));
        read.await.map_err(|_| TooMuch::Time)??;
    }
    drop(on_its_way);
    Ok(Read { request: Request::from_parts(parts, Body::from(arrived.whole())), is_whole: true, part })
}

/// What has arrived of a body. Copied: what arrives byte by byte would keep a buffer of the connection each. In
/// pieces, as one that grew would leave its former ones behind.
#[derive(Default)]
struct Arrived {
    pieces: Vec<Vec<u8>>,
    length: usize,
}

impl Arrived {
    /// Reads to the end, and may be given up and gone on with. Room is taken for what has arrived, not for what was
    /// announced.
    async fn read(&mut self, body: &mut Body, limit: usize, part: &mut Part) -> Result<(), TooMuch> {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| TooMuch::Broken)?.into_data() else { continue };
            self.length += data.len();
            if self.length > limit {
                return Err(TooMuch::Body);
            }
            self.keep(&data, part).map_err(TooMuch::Room)?;
        }
        Ok(())
    }

    fn keep(&mut self, mut left: &[u8], part: &mut Part) -> Result<(), Full> {
        while !left.is_empty() {
            let free = self.pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
            if free == 0 {
                let step = if self.pieces.is_empty() { STEP } else { PIECE };
                part.grow(step)?;
                self.pieces.push(Vec::with_capacity(step));
            }
            let Some(piece) = self.pieces.last_mut() else { break };
            let (now, later) = left.split_at(left.len().min(piece.capacity() - piece.len()));
            piece.extend_from_slice(now);
            left = later;
        }
        Ok(())
    }

    fn whole(self) -> Bytes {
        match <[Vec<u8>; 1]>::try_from(self.pieces) {
            Ok([whole]) => whole.into(),
            Err(pieces) => pieces.concat().into(),
        }
    }
}

/// Whether a handler looks at the body: every form, and a second token in the one of a resource's request.
fn is_asked_for(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    route.is_some_and(|route| {
        *request.method() == Method::POST || route.trim_end_matches('/') == resource::PATH
    })
}

/// Bytes of all headers together.
pub(crate) fn headers_length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

impl TooMuch {
    fn answer(self, is_api: bool) -> Response {
        let (status, sentence) = match self {
            TooMuch::Headers => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of the request are too large.")
            }
            TooMuch::Body => (StatusCode::PAYLOAD_TOO_LARGE, "The body of the request is too large."),
            TooMuch::Time => (StatusCode::REQUEST_TIMEOUT, "The body of the request came too slowly."),
            TooMuch::Broken => (StatusCode::BAD_REQUEST, "The body of the request broke off."),
            TooMuch::Room(full) => (full.status(), "Too much is being sent; try again in a moment."),
        };
        let mut response = match (self, is_api) {
            (TooMuch::Room(Full::All), true) => {
                OAuthError::unavailable("no room for another body").into_response()
            }
            (TooMuch::Room(Full::Network), true) => {
                OAuthError::too_many(Duration::from_secs(RETRY_AFTER)).into_response()
            }
            (_, true) => OAuthError::invalid_request(sentence).with_status(status).into_response(),
            (_, false) => (status, sentence).into_response(),
        };
        if let TooMuch::Room(_) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        // The rest of the request is still on its way and must not be taken for the next one.
        close(&mut response);
        response
    }
}

fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A body that arrives in pieces and, unless it is ended, goes on for ever.
    struct Pieces(VecDeque<Bytes>, bool);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    async fn collect(mut body: Body, limit: usize, part: &mut Part) -> Result<Bytes, TooMuch> {
        let mut arrived = Arrived::default();
        arrived.read(&mut body, limit, part).await?;
        Ok(arrived.whole())
    }

    fn body(count: usize, length: usize, is_ended: bool) -> Body {
        let pieces = std::iter::repeat_n(Bytes::from(vec![b'a'; length]), count);
        Body::new(Pieces(pieces.collect(), is_ended))
    }

    #[tokio::test]
    async fn a_body_takes_room_for_what_has_arrived_until_it_is_answered() {
        let room = Room::new(100_000, 100_000);
        for (count, length, taken) in
            [(0, 0, 0), (1, 1, STEP), (300, 1, STEP), (2_000, 1, STEP + PIECE), (1, 60_000, STEP + 8 * PIECE)]
        {
            let mut part = room.part(None);
            let whole = collect(body(count, length, true), 65_536, &mut part).await.unwrap();
            assert_eq!((whole.len(), room.in_use()), (count * length, taken));
            drop(part);
            assert_eq!(room.in_use(), 0);
        }
        let mut part = room.part(None);
        let too_long = collect(body(3, 30_000, true), 65_536, &mut part).await;
        assert_eq!(too_long, Err(TooMuch::Body));
    }

    #[tokio::test]
    async fn bodies_that_never_end_take_the_share_of_their_network_and_no_more() {
        let room = Bodies::new(65_536).slow;
        let (greedy, modest) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        let mut refused = 0;
        let mut sending = Vec::new();
        for _ in 0..1_000 {
            let mut part = room.part(greedy);
            let mut reading =
                Box::pin(async move { collect(body(4, 16_000, false), 65_536, &mut part).await });
            match once(reading.as_mut()).await {
                Poll::Pending => sending.push(reading),
                Poll::Ready(answer) => {
                    assert_eq!(answer, Err(TooMuch::Room(Full::Network)));
                    refused += 1;
                }
            }
        }
        assert!(refused > 900, "{refused}");
        assert!(room.in_use() <= SLOW_BODIES / NETWORKS, "{}", room.in_use());
        let whole = collect(body(1, 60_000, true), 65_536, &mut room.part(modest)).await;
        assert_eq!(whole.map(|whole| whole.len()), Ok(60_000));
        drop(sending);
        assert_eq!(room.in_use(), 0);
    }

    async fn once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))).await
    }

    #[test]
    fn the_largest_body_that_is_configured_finds_room() {
        for largest in [1, 65_536, 64 << 20] {
            let Bodies { prompt, slow } = Bodies::new(largest);
            for room in [prompt, slow] {
                assert_eq!(room.part("192.0.2.1".parse().ok()).grow(2 * largest), Ok(()), "{largest}");
            }
        }
    }

    #[test]
    fn rfc_9110_section_10_2_3_no_room_is_said_with_a_time_to_come_again() {
        for (full, status) in
            [(Full::All, StatusCode::SERVICE_UNAVAILABLE), (Full::Network, StatusCode::TOO_MANY_REQUESTS)]
        {
            for is_api in [true, false] {
                let answer = TooMuch::Room(full).answer(is_api);
                assert_eq!(
                    (answer.status(), &answer.headers()["retry-after"]),
                    (status, &HeaderValue::from(1))
                );
            }
        }
    }
}
