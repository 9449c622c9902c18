//! What parsing a request's head costs: httparse finds the pieces, and every rule of RFC 9112 that
//! it leaves out is checked after it. httparse alone on the same bytes is the control.

use std::hint::black_box;
use std::mem::MaybeUninit;

use criterion::{Criterion, criterion_group, criterion_main};
use sidecore::codec::{HEADER_COUNT_CAP, HeadLimits, HeadScan, Parsed, next_head};

const LIMITS: HeadLimits = HeadLimits {
    size_max_bytes: 32 * 1024,
    header_count_max: 100,
    target_length_max_bytes: 8192,
    is_secured: false,
    takes_raw_utf8: false,
};

/// What a load client sends.
const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What a browser sends.
const BROWSER: &[u8] = b"GET /articles/2026/an-ordinary-page?from=home&page=2 HTTP/1.1\r\n\
Host: www.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://www.example.org/\r\n\
Connection: keep-alive\r\n\
Cookie: session=4f3c2b1a0987654321fedcba; theme=dark; consent=essential\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Priority: u=0, i\r\n\r\n";

fn sidecore(input: &[u8]) -> usize {
    let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
    match next_head(black_box(input), &mut HeadScan::default(), &mut slots, &LIMITS) {
        Ok(Parsed::Complete(head)) => black_box(&head).size_bytes,
        other => panic!("a complete head: {other:?}"),
    }
}

fn httparse(input: &[u8]) -> usize {
    let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        black_box(input),
        &mut slots,
    );
    black_box(&request);
    parsed.expect("a good head").unwrap()
}

fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    for (name, input) in [("small", SMALL), ("browser", BROWSER)] {
        assert_eq!(sidecore(input), httparse(input));
        group.bench_function(name, |bencher| bencher.iter(|| sidecore(input)));
        group.bench_function(format!("control_{name}"), |bencher| {
            bencher.iter(|| httparse(input));
        });
    }
    group.finish();
}

criterion_group!(benches, head);
criterion_main!(benches);
