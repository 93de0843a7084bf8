//! The program: command line, logs, signals, exit codes. Everything else is in the library.

use anyhow::Context;
use clap::{CommandFactory, Parser};
use recorder::actors::recorder::RunError;
use recorder::arm::let_go;
use recorder::bench;
use recorder::bench::job::{Arguments, Job};
use recorder::bench::measure::{BenchError, Stop};
use recorder::calibrate::{self, CalibrateError};
use recorder::child;
use recorder::cli::{self, Cli, Command, Recover, split_overrides};
use recorder::clock::{Clock, SystemClock};
use recorder::codec::backend::Device;
use recorder::codec::choice;
use recorder::codec::gpu::{self, GpuReport};
use recorder::config::schema::{OnLowDisk, OnStop};
use recorder::config::{self, Config, ConfigError, reference};
use recorder::console::keys::{self, Press};
use recorder::console::screen::{self, Live};
use recorder::console::{access, http, view};
use recorder::dataset::{Dataset, DatasetError};
use recorder::devices::Devices;
use recorder::disk_space::NoSpace;
use recorder::encoders::self_test::SelfTest;
use recorder::encoders::self_test::scratch::Scratch;
use recorder::encoders::{Listing, part};
use recorder::episode::Key;
use recorder::episodes::{self, EpisodesError};
use recorder::events::Event;
use recorder::init::InitError;
use recorder::init::ask::Ask;
use recorder::regenerate::{self, RegenerateError};
use recorder::run_state::{self, Ending};
use recorder::schedule::{Schedule, Until};
use recorder::sim_arm::SimArm;
use recorder::status::{self, SharedStatus, Status};
use recorder::supervision::{self, Notifier, Supervisor};
use recorder::teleoperate::{self, TeleoperateError};
use recorder::{check, codec, discover, gpu_metrics, init, log_file, metrics, notify, run, sim_arm, verify};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// The terminal is drawn this often, and a line is logged this often where there is none.
const DRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);
/// At the second signal the arm is let go of, and this long is waited for it.
const FAREWELL: Duration = Duration::from_secs(3);
/// Those who follow the events are waited for at the end: they are to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Worker threads of the runtime: it only moves messages; devices, codecs and the disk have threads of their own.
const RUNTIME_THREADS: usize = 2;

/// Lets go of the arms at the end, however the program ends: by its own, by a panic too.
struct LetGo;

impl Drop for LetGo {
    fn drop(&mut self) {
        if !let_go::all(FAREWELL) {
            let _ =
                writeln!(std::io::stderr(), "recorder: the arm may still hold its position: it could not be let go of");
        }
    }
}

fn main() -> ExitCode {
    let _let_go = LetGo;
    let (arguments, overrides) = split_overrides(std::env::args_os());
    let cli = Cli::parse_from(arguments);
    // Only a run has a log file, which its configuration names.
    let _logging = cli.command.is_some().then(|| log_file::start(None));
    let result = match &cli.command {
        Some(Command::Schema { markdown: true }) => print(&reference::markdown()),
        Some(Command::Schema { markdown: false }) => print(&format!("{:#}\n", reference::json_schema())),
        Some(Command::Metrics { markdown }) => print(&if *markdown { metrics::markdown() } else { metrics::text() }),
        Some(Command::Encoders(options)) => encoders(options),
        Some(Command::Bench(options)) => bench(&cli, options, &overrides),
        Some(Command::Completions { shell }) => print(&completions(*shell)),
        Some(Command::Teleoperate) => configuration(&cli, &overrides).and_then(|config| teleoperate(&config, None)),
        Some(Command::Replay(arguments)) => {
            configuration(&cli, &overrides).and_then(|config| teleoperate(&config, Some(arguments)))
        }
        Some(Command::Devices(arguments)) => devices(arguments),
        Some(Command::Init(arguments)) => init(arguments),
        Some(Command::Calibrate(arguments)) => {
            by_hand(&cli, &overrides, |config, presses| calibrate::calibrate(arguments, config, presses))
        }
        Some(Command::SetupMotors(arguments)) => {
            by_hand(&cli, &overrides, |config, presses| calibrate::setup_motors(arguments, config, presses))
        }
        Some(Command::Regenerate(arguments)) => regenerate(arguments),
        Some(Command::Recover(arguments)) => recover(arguments),
        Some(Command::Episodes(arguments)) => {
            episodes::run(arguments).map_err(anyhow::Error::from).and_then(|text| print(&text))
        }
        Some(Command::Verify(arguments)) => verify(arguments),
        Some(Command::SimArm(arguments)) => sim_arm(arguments),
        Some(Command::Check { notify }) => configuration(&cli, &overrides).and_then(|config| {
            let findings = check::check(&config, *notify);
            print(&findings.text)?;
            Ok(findings.faults.iter().min().map_or(0, |fault| *fault as u8))
        }),
        None => configuration(&cli, &overrides).and_then(|config| {
            let _logging = log_file::start(Some(&config.log))?;
            record(config)
        }),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            screen::flush();
            let _ = writeln!(std::io::stderr(), "recorder: {}", in_full(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<TeleoperateError>() {
        error.exit_code()
    } else if let Some(error) = error.downcast_ref::<RegenerateError>() {
        error.exit_code()
    } else if let Some(error) = error.downcast_ref::<EpisodesError>() {
        error.exit_code()
    } else if let Some(error) = error.downcast_ref::<CalibrateError>() {
        error.exit_code()
    } else if let Some(error) = error.downcast_ref::<InitError>() {
        error.exit_code()
    } else if error.is::<DatasetError>() || error.is::<NoSpace>() {
        4
    } else if matches!(error.downcast_ref(), Some(RunError::Device(_) | RunError::Lost(_))) {
        3
    } else if error.is::<RunError>() {
        1
    } else {
        2
    }
}

/// The error and its causes; our own errors already name theirs.
fn in_full(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            known if known.contains(&cause) => text,
            known => format!("{known}: {cause}"),
        }
    })
}

/// Writes to standard output, after what was logged; whoever reads it may go away in between.
fn print(text: &str) -> anyhow::Result<u8> {
    screen::flush();
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(0),
    }
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "recorder", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn devices(arguments: &discover::Arguments) -> anyhow::Result<u8> {
    let mut found = discover::look(&arguments.place);
    if let Some(folder) = &arguments.snapshot {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        found.snapshots = discover::snapshot::take(&found.cameras, folder, &Devices::default().camera, &clock)
            .with_context(|| {
                format!("--snapshot {}: expected a folder that can be made and written to", folder.display())
            })?;
    }
    print(&if arguments.json { found.json() } else { found.text() })?;
    Ok(found.exit_code())
}

fn init(arguments: &init::Arguments) -> anyhow::Result<u8> {
    let is_asked = screen::is_interactive() && !arguments.yes;
    let person: Option<&mut dyn Ask> = if is_asked { Some(&mut init::ask::Terminal) } else { None };
    print(&init::run(arguments, discover::look, person)?)
}

fn encoders(options: &cli::Encoders) -> anyhow::Result<u8> {
    if options.probe_in_process {
        return print(&gpu::probe_for_parent());
    }
    if options.watch_in_process {
        gpu_metrics::watch_for_parent();
        return Ok(0);
    }
    if let Some(question) = &options.part_in_process {
        return print(&part::run_for_parent(question).context("--part-in-process")?);
    }
    if options.self_test {
        return self_test(options);
    }
    let listing = Listing::measure(Path::new(child::THIS_PROGRAM), &gpu::prober()());
    print(&if options.json { format!("{:#}\n", serde_json::json!(listing)) } else { listing.table() })
}

fn self_test(options: &cli::Encoders) -> anyhow::Result<u8> {
    let scratch = Scratch::new(options.report.as_deref())?;
    tracing::info!("recordings of the self-test come and go in {}", scratch.path().display());
    let test = SelfTest {
        program: child::THIS_PROGRAM.into(),
        seconds: options.seconds,
        folder: scratch.path().to_path_buf(),
    };
    let report = test.run(&gpu::prober()(), &|next| tracing::info!("{next}"));
    let json = format!("{:#}\n", serde_json::json!(report));
    if let Some(path) = &options.report {
        scratch.publish(&json, path)?;
    }
    print(if options.json { &json } else { &report.markdown })?;
    Ok(u8::from(!report.failures.is_empty()))
}

fn configuration(cli: &Cli, overrides: &[config::Override]) -> anyhow::Result<Config> {
    let path = cli.config.as_ref().context("expected --config FILE, found none; `recorder --help` shows how")?;
    config::load(path, overrides).map_err(|error: ConfigError| anyhow::anyhow!("{error}"))
}

/// What a person does to an arm at a terminal; signals are as Ctrl-C there.
fn by_hand(
    cli: &Cli,
    overrides: &[config::Override],
    act: impl FnOnce(&Config, &calibrate::Presses) -> Result<calibrate::Report, CalibrateError>,
) -> anyhow::Result<u8> {
    let config = configuration(cli, overrides)?;
    let runtime = runtime()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    {
        let _inside = runtime.enter();
        let (mut interrupts, sender) = (interrupts()?, sender.clone());
        runtime.spawn(async move {
            while let Some(Interrupt(code)) = interrupts.recv().await {
                if sender.send(calibrate::person::Press::Leave(code)).is_err() {
                    return;
                }
            }
        });
    }
    let report = act(&config, &calibrate::Presses { receiver, sender })?;
    // Whoever has closed the terminal reads nothing any more.
    let _ = print(&report.text);
    Ok(report.code)
}

fn regenerate(arguments: &regenerate::Arguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let stopped = {
        let _inside = runtime.enter();
        let (mut interrupts, cancelled) = (interrupts()?, cancelled.clone());
        runtime.spawn(async move {
            let interrupt = interrupts.recv().await;
            cancelled.store(true, Ordering::Relaxed);
            interrupt
        })
    };
    let summary = regenerate::run(arguments, &gpu::prober(), &regenerate::Progress::stderr(), &cancelled)?;
    print(&if arguments.json { format!("{}\n", serde_json::to_string_pretty(&summary)?) } else { summary.text() })?;
    match stopped.is_finished().then(|| runtime.block_on(stopped)) {
        Some(Ok(Some(Interrupt(code)))) => Ok(code),
        _ => Ok(u8::from(summary.failed > 0)),
    }
}

/// The arms without a recording, until somebody ends it or a motion is over.
fn teleoperate(config: &Config, motion: Option<&cli::Replay>) -> anyhow::Result<u8> {
    let source = match motion {
        Some(motion) => teleoperate::motion(config, &motion.root, motion.episode)?,
        None => teleoperate::Source::Leader,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let interrupted = Arc::new(OnceLock::new());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    {
        let _inside = runtime.enter();
        let mut interrupts = interrupts()?;
        let (clock, interrupted) = (clock.clone(), interrupted.clone());
        runtime.spawn(async move {
            while let Some(interrupt) = interrupts.recv().await {
                let _ = interrupted.set(interrupt.0);
                clock.stop();
            }
        });
    }
    let live = if screen::is_interactive() { Live::start() } else { None };
    if live.is_some() {
        let (clock, interrupted) = (clock.clone(), interrupted.clone());
        keys::listen(move |meant| {
            match meant {
                Press::Interrupt => drop(interrupted.set(Interrupt::OPERATOR.0)),
                Press::Key(Key::Stop) => drop(interrupted.set(0)),
                Press::Key(_) => return true,
            }
            clock.stop();
            true
        })?;
    }
    let mut shown = Instant::now();
    let ended = teleoperate::run(config, &Devices::default(), &clock, source, &mut |meters| {
        if shown.elapsed() >= if live.is_some() { DRAW } else { teleoperate::LINE } {
            shown = Instant::now();
            match &live {
                Some(live) => live.paint(|columns, rows| teleoperate::table::block(meters, columns, rows)),
                None => tracing::info!("{}", teleoperate::table::line(meters)),
            }
        }
        interrupted.get().is_none()
    });
    drop(live);
    runtime.shutdown_background();
    let _ = print(&teleoperate::table::summary(&ended?));
    Ok(interrupted.get().copied().unwrap_or(0))
}

fn recover(arguments: &Recover) -> anyhow::Result<u8> {
    let recovery = match Dataset::recover(&arguments.root, arguments.on_crash) {
        Ok(recovery) => recovery,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "recorder: {error}");
            return Ok(1);
        }
    };
    let lost = recovery.has_lost();
    if arguments.json {
        let mut json = serde_json::to_value(&recovery)?;
        json["lost"] = lost.into();
        print(&format!("{json:#}\n"))?;
    } else {
        let mut lines = recovery.describe();
        if lines.is_empty() {
            lines.push("nothing to recover".into());
        }
        print(&format!("{}\n", lines.join("\n")))?;
    }
    Ok(if lost { 3 } else { 0 })
}

fn verify(arguments: &verify::Arguments) -> anyhow::Result<u8> {
    let report = verify::verify(&arguments.root, arguments.deep)?;
    print(&if arguments.json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { report.text() })?;
    Ok(report.exit_code())
}

fn sim_arm(arguments: &sim_arm::Arguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(async {
        let mut interrupts = interrupts()?;
        let mut arm = SimArm::start(arguments)?;
        let mut lines = sim_arm::lines();
        print(&format!("ready {}\n", arm.path()))?;
        loop {
            tokio::select! {
                Some(line) = lines.recv() => match arm.obey(&line) {
                    Some(answer) => print(&format!("{answer}\n"))?,
                    None => return Ok(0),
                },
                _ = interrupts.recv() => return Ok(0),
            };
        }
    })
}

fn bench(cli: &Cli, options: &Arguments, overrides: &[config::Override]) -> anyhow::Result<u8> {
    let job = Job::new(options, cli.config.as_deref(), overrides)?;
    let folder = match &options.keep {
        Some(path) => {
            bench::Folder::kept(path).with_context(|| format!("--keep {}: expected a new folder", path.display()))?
        }
        None => bench::Folder::temporary(&job.config).context("no folder for the data sets can be made")?,
    };
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        if let Some(handle) = metrics::install() {
            tokio::spawn(http::upkeep(handle));
        }
        let mut interrupts = interrupts()?;
        let (stop, stopped) = watch::channel(false);
        let mut report = std::pin::pin!(bench::run(&job, folder.path(), Stop(stopped)));
        let mut interrupted = 0;
        let report = loop {
            tokio::select! {
                report = &mut report => break report,
                Some(Interrupt(code)) = interrupts.recv() => {
                    if stop.send_replace(true) {
                        return Ok(code);
                    }
                    tracing::info!("stopping: nothing is measured any more; once more to stop at once");
                    interrupted = code;
                }
            }
        };
        let report = report.map_err(|error| match error {
            BenchError::NoSpace(error) => anyhow::Error::from(error),
            BenchError::Dataset(error) => error.into(),
            BenchError::Codec(error) => error.into(),
            BenchError::Run(error) => error.into(),
        })?;
        let Some(report) = report else { return Ok(interrupted) };
        let json = || format!("{:#}\n", serde_json::json!(report));
        print(&if options.json { json() } else { bench::render::text(&report) })?;
        Ok(u8::from(!report.ok))
    });
    runtime.shutdown_background();
    result
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}

fn record(config: Config) -> anyhow::Result<u8> {
    let runtime = runtime()?;
    let status = status::shared();
    let result = runtime.block_on(async {
        let root = run::root(&config).display().to_string();
        let mut teller = notify::Teller::start(&config.notify, &root, &status.events);
        let result = record_until_ended(config, &status, &mut teller).await;
        teller.finish().await;
        let _ = tokio::time::timeout(LAST_WORDS, status.events.all_heard()).await;
        result
    });
    // Whatever still runs was told to stop at once.
    runtime.shutdown_background();
    result
}

/// What made the run stop early, as an exit code.
#[derive(Clone, Copy)]
struct Interrupt(u8);

impl Interrupt {
    const OPERATOR: Interrupt = Interrupt(130);

    /// Tells whether the run is over with this process: Ctrl-C ends both, the system's signals only the process.
    fn tell(self, ending: &Ending) {
        if self.0 == Interrupt::OPERATOR.0 { ending.end() } else { ending.interrupt() }
    }
}

/// What `run.until` means for a run that begins now.
fn until_utc_ns(config: &Config, now_utc_ns: u64) -> anyhow::Result<Option<u64>> {
    let Some(until) = &config.run.until else { return Ok(None) };
    let instant = || -> Result<u64, jiff::Error> {
        let began = jiff::Timestamp::from_nanosecond(now_utc_ns.into())?;
        let instant = until.parse::<Until>()?.instant(began, &jiff::tz::TimeZone::try_system()?)?;
        Ok(u64::try_from(instant.as_nanosecond()).unwrap_or_default())
    };
    let remedy = "set the time zone of this machine (/etc/localtime or TZ), or give a date and time with its offset";
    instant()
        .map(Some)
        .map_err(|error| anyhow::anyhow!("run.until: \"{until}\" cannot be understood: {error}; {remedy}"))
}

async fn record_until_ended(
    mut config: Config,
    status: &SharedStatus,
    teller: &mut notify::Teller,
) -> anyhow::Result<u8> {
    if let Some(handle) = metrics::install() {
        tokio::spawn(http::upkeep(handle));
        if !config.metrics.listen.is_empty() {
            let address = http::serve(&config.metrics, handle, status.clone()).await?;
            tracing::info!("metrics at http://{address}/metrics, {}", access::describe(&config.metrics, address));
        }
    }
    let gpu = choose_encoder(&mut config).await?;
    let config = Arc::new(config);
    let mut interrupts = interrupts()?;
    if config.run.on_low_disk == OnLowDisk::Stop {
        run::require_disk(&config)?;
    }
    let clock = run::clock(&config);
    let now = clock.now();
    let until_utc_ns = until_utc_ns(&config, now.utc_ns)?;
    let (begun, said) = run_state::find(&config)?;
    said.iter().for_each(|line| tracing::warn!("{line}"));
    let opened = run_state::open(&config, begun, now.utc_ns, until_utc_ns)?;
    opened.describe().iter().for_each(|line| tracing::info!("{line}"));
    let run_state::Opened { dataset, state, recorded, goes_on } = opened;
    let schedule = Schedule::new(now, state.began_utc_ns, state.until_utc_ns, config.run.max_hours);
    if recorded >= u64::from(config.dataset.num_episodes) {
        tracing::info!("the run is complete: what waits is saved, nothing is recorded; start again for a new run");
    } else if let Some(key) = schedule.is_over(now) {
        tracing::info!("{key} is reached: what waits is saved, nothing is recorded; start again for a new run");
    }
    for line in dataset.recovery().describe() {
        status.tell(clock.now(), Event::Recovered { lost: dataset.recovery().has_lost() }, line);
    }
    for line in dataset.other_codecs() {
        tracing::warn!("{line}; `recorder regenerate` makes them alike");
    }
    let run_clock = clock.clone();
    let parts = run::Parts {
        clock,
        open_encoder: codec::backend::standard(),
        gpu,
        status: status.clone(),
        on_saved: Box::new(|_, _| {}),
    };
    let stage = run::Stage { recorded, goes_on, schedule, ..run::Stage::default() };
    let running = run::start_from(&config, dataset, parts, Devices::default(), stage).await?;
    let notifier = Notifier::from_env(&|name| std::env::var_os(name)).unwrap_or_else(|error| {
        tracing::warn!("NOTIFY_SOCKET: {error}: whoever started the recorder is not told how it is");
        None
    });
    let notifier = notifier.map(Arc::new);
    let supervisor = Supervisor::new(running.health(), notifier.clone(), supervision::PATIENCE, Instant::now());
    let supervised = tokio::spawn(supervision::supervise(supervisor, status.clone(), run_clock));
    let stopping = |well| notifier.iter().for_each(|notifier| notifier.stopping(well));
    let live = if screen::is_interactive() { Live::start() } else { None };
    let (press, mut pressed) = mpsc::unbounded_channel();
    if live.is_some() {
        keys::listen(move |meant| press.send(meant).is_ok())?;
    }
    let controls = running.controls();
    let mut ended = std::pin::pin!(running.wait());
    let mut draw = tokio::time::interval(if live.is_some() { DRAW } else { LINE });
    draw.tick().await;
    let mut interrupted: Option<Interrupt> = None;
    let outcome = loop {
        let interrupt = tokio::select! {
            outcome = &mut ended => break outcome,
            Some(interrupt) = interrupts.recv() => interrupt,
            Some(meant) = pressed.recv() => match meant {
                Press::Key(meant) => { controls.key(meant); continue }
                Press::Interrupt => Interrupt::OPERATOR,
            },
            _ = draw.tick() => {
                show(live.as_ref(), status);
                continue
            }
        };
        interrupt.tell(controls.ending());
        if interrupted.is_some() {
            controls.abort();
            teller.abandon();
            let ended = tokio::time::timeout(FAREWELL, &mut ended).await;
            drop(live);
            let arm = if ended.is_ok() { "" } else { "; the arm may still hold its position" };
            tracing::warn!(
                "stopped at once: saved episodes are complete, the next start saves what was recorded since{arm}"
            );
            return Ok(interrupt.0);
        }
        stopping(true);
        let (key, fate) = match config.run.on_stop {
            OnStop::Keep => (Key::Stop, "ended and saved"),
            OnStop::Discard => (Key::StopDiscarding, "thrown away"),
        };
        tracing::info!("stopping: the episode is {fate}; once more to stop at once");
        interrupted = Some(interrupt);
        controls.key(key);
    };
    supervised.abort();
    if interrupted.is_none() {
        stopping(outcome.is_ok());
    }
    drop(live);
    if !matches!(outcome, Err(RunError::Device(_))) {
        // What was recorded is saved, whether or not somebody can still read so.
        let _ = print(&summary(&status.borrow(), &config));
    }
    // How it ended is for Prometheus, and for whoever is to be told; a signal cuts that short.
    tokio::select! {
        _ = async { tokio::join!(status.scrapes.once_more(), teller.finish()) } => {}
        _ = interrupts.recv() => teller.abandon(),
    }
    outcome?;
    Ok(interrupted.map_or(0, |interrupt| interrupt.0))
}

/// Signals that end a run, as they come.
fn interrupts() -> anyhow::Result<mpsc::UnboundedReceiver<Interrupt>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, code) in [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143), (SignalKind::hangup(), 129)] {
        let mut stream = signal(kind).context("signals cannot be caught")?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(Interrupt(code)).is_ok() {} });
    }
    Ok(receiver)
}

/// Looks what can encode, puts it into the configuration, and says it.
async fn choose_encoder(config: &mut Config) -> anyhow::Result<Option<run::Gpu>> {
    let prober = gpu::prober();
    let mut found = GpuReport::default();
    if choice::wants_gpu(config) {
        let prober = prober.clone();
        found = tokio::task::spawn_blocking(move || prober()).await.context("the GPU cannot be looked for")?;
        if !config.metrics.listen.is_empty() {
            gpu_metrics::start(&found, config.dataset.encoder.gpu_id);
        }
    }
    let choice = choice::choose(config, &found).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    choice.apply(config);
    for warning in &choice.warnings {
        tracing::warn!("{warning}");
    }
    check::encoder(config, choice.device)?;
    let fake = if found.fake { " (fake driver)" } else { "" };
    let workers = run::workers(config);
    let threads = if workers == 1 { "thread" } else { "threads" };
    tracing::info!("encoder: {}{fake}, {workers} {threads} on the CPU", choice.describe());
    Ok((choice.device == Device::Gpu).then_some(run::Gpu { works: choice.gpu_works, prober }))
}

fn show(live: Option<&Live>, status: &SharedStatus) {
    let status = status.borrow().clone();
    match live {
        Some(live) => live.draw(&status),
        None => tracing::info!("{}", view::line(&status)),
    }
}

fn summary(status: &Status, config: &Config) -> String {
    let Status { root, saved, discarded, failed, dataset_episodes, dropped, waiting, .. } = status;
    let episodes = if *saved == 1 { "episode" } else { "episodes" };
    let counts = format!("{saved} {episodes} saved, {discarded} discarded, {failed} failed");
    let mut text = format!("{root}: {counts}; {dataset_episodes} in the data set; {dropped} frames dropped\n");
    if *waiting > 0 {
        let _ = writeln!(
            text,
            "{waiting} more wait on disk to be encoded: the next run does it, or `recorder regenerate {root}`"
        );
    }
    if *dataset_episodes > 0 {
        let _ = writeln!(text, "load it: LeRobotDataset(\"{}\", root=\"{root}\")", config.dataset.repo_id);
    }
    text
}
