//! Through the front door: the real program, started over folders or over S3 servers of somebody else, asked by
//! an SDK, and by requests that no SDK would send.

#[path = "../support/mod.rs"]
mod support;

/// Runs each test over embedded stores and over third-party S3 servers.
macro_rules! over_both_kinds_of_store {
    ($($test:ident),* $(,)?) => {
        mod over_folders {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::support::gateway::Gateway::demo().await).await;
            })*
        }

        mod over_s3_servers {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::support::gateway::Gateway::remote().await).await;
            })*
        }
    };
}

mod app;
mod bodies;
mod buckets;
mod commands;
mod copies;
mod forms;
mod lists;
mod moves;
mod objects;
mod operating;
mod protocol;
mod residency;
mod signatures;
mod sources;
mod uploads;
mod versions;
