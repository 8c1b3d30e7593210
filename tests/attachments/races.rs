//! Collection against uploads of the same content.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Setup;
use crate::forgetful;
use crate::rig::{content, get, hash, send, state};

const UPLOADERS: usize = 8;
const ROUNDS: u64 = 14;
const UPLOADS_PER_ROUND: usize = 2;
/// That of the node.
const GRACE: Duration = Duration::from_secs(1);
/// For so long after it was sent a blob has to be there. A little less, since time counts from some milliseconds before
/// the node answers.
const STAYS: Duration = Duration::from_millis(800);

/// 224 uploads of one content, in bursts at about the time at which it is dropped.
#[test]
fn an_upload_is_never_answered_for_a_blob_that_is_dropped_before_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let node = forgetful(&Setup::node("n", folder.path())).serve();
    let bytes = content(1, 200_000);
    let name = hash(&bytes);
    let together = Barrier::new(UPLOADERS);
    let upload = || {
        let mut new = 0;
        for round in 0..ROUNDS {
            together.wait();
            let burst = Instant::now();
            for _ in 0..UPLOADS_PER_ROUND {
                let start = Instant::now();
                let status = send(&node, &bytes).status;
                assert!(status == 200 || status == 201, "{status}");
                new += usize::from(status == 201);
                let answer = get(&node, &name);
                if start.elapsed() < STAYS {
                    assert_eq!(answer.status, 200, "{:?} after it was sent", start.elapsed());
                    assert!(answer.body == bytes);
                }
            }
            // A little before or after its time is over, or when it is gone.
            let patience = GRACE + Duration::from_millis(round * 20);
            while burst.elapsed() < patience && state(&node, &name) != "absent" {
                thread::yield_now();
            }
        }
        new
    };
    let new: usize = thread::scope(|scope| {
        let uploaders: Vec<_> = (0..UPLOADERS).map(|_| scope.spawn(upload)).collect();
        uploaders.into_iter().map(|uploader| uploader.join().unwrap()).sum()
    });
    println!("{new} of {} uploads found that it was gone", ROUNDS as usize * UPLOADERS * UPLOADS_PER_ROUND);
    crate::rig::until("it is gone in the end", || state(&node, &name) == "absent");
    assert!(!node.stop().all().contains(" WARN "));
}
