//! All pools of a server: their places, their start.

use std::sync::Arc;

use sidecore_runtime::machine::placement::{Placement, PoolRequest, TaskWorkerSeat, place_pool};
use sidecore_runtime::machine::topology::Topology;
use sidecore_runtime::sys::doorbell::Doorbell;

use crate::config::settings::{Config, Options};
use crate::lifecycle::error::{Error, Result};
use crate::tasks::pool_start::{DEFAULT, Install, PoolStart, RunningPool, pool_config};

/// The pools with their places decided.
pub(crate) struct PoolSet {
    pools: Vec<PoolStart>,
    options: Vec<Options>,
    seats: Vec<Vec<TaskWorkerSeat>>,
}

/// The running pools, and for each executor its lanes.
type StartedPools = (Vec<Box<dyn RunningPool>>, Vec<Vec<Install>>);

impl PoolSet {
    /// Decides the places of all pools' task workers, those of the server's own as `placement` says.
    pub(crate) fn decide(
        config: &Config,
        topology: &Topology,
        placement: &Placement,
        pools: Vec<PoolStart>,
    ) -> Result<Self> {
        let mut options = Vec::new();
        let mut seats = Vec::new();
        for pool in &pools {
            if &*pool.name == DEFAULT {
                options.push(pool.options.clone());
                seats.push(placement.task_workers.clone());
                continue;
            }
            let own = config.pool(&pool.name, pool.options.clone());
            let request = PoolRequest {
                task_worker_num: own.task_worker_num,
                task_worker_cpus: own.task_worker_cpus.clone(),
            };
            let placed = place_pool(topology, placement, &request);
            seats.push(placed.map_err(|error| Error::pool_place(&pool.name, error))?);
            options.push(own);
        }
        Ok(PoolSet { pools, options, seats })
    }

    /// Task workers that glommio hosts: each needs a ring of its own.
    pub(crate) fn async_workers(&self) -> usize {
        let pools = self.pools.iter().zip(&self.seats);
        let hosted = pools.filter(|(pool, _)| pool.start.as_ref().is_some_and(|s| s.is_async()));
        hosted.map(|(_, seats)| seats.len()).sum()
    }

    /// One line for each thread, and what could be better.
    pub(crate) fn describe(&self, topology: &Topology, placement: &Placement) -> Vec<String> {
        let mut lines = placement.describe(topology);
        for (pool, seats) in self.pools.iter().zip(&self.seats) {
            if &*pool.name != DEFAULT {
                let seats = seats.iter().enumerate();
                lines.extend(seats.map(|(at, seat)| seat.describe(&pool.name, at, topology)));
            }
        }
        lines.extend(placement.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }

    /// Starts them, one after the other; where one fails, those before it end.
    pub(crate) fn start(
        &mut self,
        topology: &Topology,
        placement: &Placement,
        doorbells: &[Arc<Doorbell>],
    ) -> Result<StartedPools> {
        let domain = |cpu| topology.cpu(cpu).map_or(0, |cpu| cpu.cache_domain);
        let domains: Vec<usize> = placement.executors.iter().map(|cpu| domain(*cpu)).collect();
        let mut running: Vec<Box<dyn RunningPool>> = Vec::new();
        let mut lanes: Vec<Vec<Install>> = doorbells.iter().map(|_| Vec::new()).collect();
        // Of those beside the server's own, which is 0.
        let mut number = 0;
        for ((pool, options), seats) in self.pools.iter_mut().zip(&self.options).zip(&self.seats) {
            number += u8::from(&*pool.name != DEFAULT);
            let Some(start) = pool.start.take().filter(|_| !seats.is_empty()) else { continue };
            let config = pool_config(options, seats, &domains, topology);
            match start.start(&config, number, doorbells) {
                Ok((pool, installs)) => {
                    running.push(pool);
                    lanes.iter_mut().zip(installs).for_each(|(lanes, lane)| lanes.push(lane));
                }
                Err(error) => {
                    let now = std::time::Instant::now();
                    running.into_iter().for_each(|pool| drop(pool.close(now)));
                    return Err(Error::pool(&pool.name, error));
                }
            }
        }
        Ok((running, lanes))
    }
}
