"""TaskRunner and parseAndRun: one task per data id, in one or several processes."""

import sys
import traceback
from types import SimpleNamespace

from lsst.pipe.base import NoWorkFound, Struct, TaskError

from ..errors import StillskyError
from .crew import Crew
from .log import labelled, setLevels, startLog

__all__ = ["ButlerInitializedTaskRunner", "TaskRunner", "parseAndRun"]

_INITIALIZATION, _MISMATCH, _MOST = 1, 126, 125


class TaskRunner:
    """Runs a command-line task for each data id.

    Parameters
    ----------
    TaskClass : type
    parsedCmd : namespace
        Of `stillsky.compat.arguments.ArgumentParser.parse_args`.
    doReturnResults : `bool`
        Keep what ``runDataRef`` returned.
    """

    TaskClass = None

    def __init__(self, TaskClass, parsedCmd, doReturnResults=False):
        self.TaskClass = TaskClass
        self.config = parsedCmd.config
        self.log = parsedCmd.log
        self.doRaise = bool(parsedCmd.doraise)
        self.doReturnResults = bool(doReturnResults)
        self.clobberConfig = bool(parsedCmd.clobber_config)
        self.doBackup = not parsedCmd.no_backup_config
        self.numProcesses = parsedCmd.processes
        self.timeout = parsedCmd.timeout
        self.failedInitialization = None
        if self.numProcesses > 1 and not getattr(TaskClass, "canMultiprocess", True):
            self.log.warning("%s cannot be run in several processes; one is used", TaskClass.__name__)
            self.numProcesses = 1

    def run(self, parsedCmd):
        """Run for all data ids; results in their order. Empty when the initialisation failed, which ``failedInitialization`` says."""
        from lsst.utils.threads import disable_implicit_threading

        disable_implicit_threading()
        if not self.precall(parsedCmd):
            return []
        targets = self.getTargetList(parsedCmd, **self.TaskClass._targetArguments(parsedCmd))
        if not targets:
            self.log.warning(
                "Not running the task because there is no data to process; you may preview data using --show data"
            )
            return []
        if self.numProcesses == 1 or len(targets) == 1:
            return [self(target) for target in targets]
        return self._inProcesses(parsedCmd, targets)

    def _inProcesses(self, parsedCmd, targets):
        """Results of all targets from processes that stay, each with the repository opened once.

        A data id that kills its process fails alone, after a second try by itself.
        """
        store = parsedCmd.butler
        log, self.log = self.log, None  # loggers' handlers do not travel
        settings = {"loglevel": parsedCmd.loglevel, "longlog": parsedCmd.longlog, "debug": parsedCmd.debug}
        crew = Crew(_startWorker, (parsedCmd.input, store.run, store.collections, self, settings), self.timeout)
        jobs = {i: (dict(ref.dataId.mapping), kwargs) for i, (ref, kwargs) in enumerate(targets)}
        try:
            crew.run(_work, jobs, min(self.numProcesses, len(targets)))
        finally:
            self.log = log
        for i, reason in crew.lost.items():
            crew.results[i] = self._failed(targets[i][0], reason, log)
        if self.doReturnResults:
            for i, (ref, _) in enumerate(targets):
                crew.results[i].dataRef = ref
        return [crew.results[i] for i in range(len(targets))]

    def _failed(self, ref, reason, log):
        """The result of a data id that gave none."""
        log.critical("Failed on dataId=%s: %s", ref.dataId, reason)
        if self.doReturnResults:
            return Struct(exitStatus=1, dataRef=ref, metadata=None, result=None)
        return Struct(exitStatus=1)

    @staticmethod
    def getTargetList(parsedCmd, **kwargs):
        """[(dataRef, kwargs)] of ``--id``."""
        return [(ref, kwargs) for ref in parsedCmd.id.refList]

    def makeTask(self, parsedCmd=None, args=None):
        """A task of the configuration."""
        return self.TaskClass(config=self.config, log=self.log)

    def precall(self, parsedCmd):
        """Store versions, configuration and schemas, or compare; whether the run may begin."""
        try:
            task = self.makeTask(parsedCmd=parsedCmd)
            if not parsedCmd.no_versions:
                task.writePackageVersions(parsedCmd.butler, clobber=parsedCmd.clobber_versions)
            task.writeConfig(parsedCmd.butler, clobber=self.clobberConfig, doBackup=self.doBackup)
            task.writeSchemas(parsedCmd.butler, clobber=self.clobberConfig, doBackup=self.doBackup)
        except Exception as error:  # whatever a task can go wrong with: it is said, and the exit status tells it
            if self.doRaise:
                raise
            self.log.critical("Failed in task initialization: %s: %s", type(error).__name__, error)
            _trace(error)
            self.failedInitialization = error
            return False
        return True

    def __call__(self, target):
        """Run for one data id; its metadata are stored whether it failed or not."""
        dataRef, kwargs = target
        with labelled(dataRef.dataId):
            task = self.makeTask(args=target)
            result, failure = None, None
            try:
                result = task.runDataRef(dataRef, **kwargs)
            except NoWorkFound as nothing:
                task.log.warning("Nothing to do for dataId=%s: %s", dataRef.dataId, nothing)
            except Exception as error:  # whatever a task can go wrong with: the other data ids go on
                failure = error
                task.log.critical("Failed on dataId=%s: %s: %s", dataRef.dataId, type(error).__name__, error)
                if not self.doRaise:
                    _trace(error)
            sys.stdout.flush()
            sys.stderr.flush()
            task.writeMetadata(dataRef)
        if failure is not None and self.doRaise:
            raise failure
        exitStatus = int(failure is not None)
        if self.doReturnResults:
            return Struct(exitStatus=exitStatus, dataRef=dataRef, metadata=task.metadata, result=result)
        return Struct(exitStatus=exitStatus)


def _trace(error):
    """The traceback of an error, unless it is one whose message says what to do."""
    if not isinstance(error, TaskError | StillskyError):
        traceback.print_exception(error, file=sys.stderr)


class ButlerInitializedTaskRunner(TaskRunner):
    """Runner of tasks whose constructor wants the butler."""

    def makeTask(self, parsedCmd=None, args=None):
        """A task of the configuration and the butler of the command or of the data reference."""
        if parsedCmd is not None:
            butler = parsedCmd.butler
        elif args is not None:
            butler = args[0].store
        else:
            raise RuntimeError("parsedCmd or args: wanted one of them")
        return self.TaskClass(config=self.config, log=self.log, butler=butler)


_worker = None  # (store, runner) of this process


def _startWorker(path, run, collections, runner, settings):
    from lsst.daf.butler import Butler
    from lsst.utils.threads import disable_implicit_threading

    from .store import RunStore

    global _worker
    disable_implicit_threading()
    runner.log = startLog(longFormat=settings["longlog"])
    setLevels(SimpleNamespace(log=runner.log, **settings))
    _worker = RunStore(Butler.from_config(path, writeable=True), run, collections, owner=True), runner


def _work(dataId, kwargs):
    from .store import DataRef

    store, runner = _worker
    expanded = store.butler.registry.expandDataId(dataId)
    result = runner((DataRef(store, expanded), kwargs))
    if runner.doReturnResults:
        result.dataRef = None  # the caller has its own, with a butler
    return result


def parseAndRun(cls, args=None, config=None, log=None, doReturnResults=False):
    """Parse an argument list and run the command.

    Parameters
    ----------
    cls : type
        Task class with the second-generation verbs.
    args : `list` of `str`, optional
        ``sys.argv[1:]`` by default.
    config : `lsst.pex.config.Config`, optional
        ``cls.ConfigClass()`` by default.
    log : `logging.Logger`, optional
    doReturnResults : `bool`
        Keep in ``resultList`` what ``runDataRef`` returned.

    Returns
    -------
    struct : `lsst.pipe.base.Struct`
        ``argumentParser``, ``parsedCmd``, ``taskRunner``, ``resultList``.

    Notes
    -----
    Exits, unless ``--noExit``, with the number of data ids that failed (at most 125), 126 where the stored configuration, schemas or
    versions differ, 1 where the initialisation failed otherwise. The repository is closed then, else with the last reference to what is
    returned; ``struct.parsedCmd.butler.close()`` does it at once.
    """
    parser = cls._makeArgumentParser()
    config = cls.ConfigClass() if config is None else config
    parsed = parser.parse_args(config=config, args=args, log=log, override=cls.applyOverrides)
    runner = cls.RunnerClass(TaskClass=cls, parsedCmd=parsed, doReturnResults=doReturnResults)
    results = []
    try:
        if not parsed.shownOnly:
            parsed.log.info("Running: %s", " ".join(map(str, sys.argv if args is None else [cls.__name__, *args])))
            results = _profiled(parsed.profile, runner.run, parsed)
            status = _exitStatus(parsed, runner, results)
            if results:
                done = len(results) - min(status, len(results))
                parsed.log.info("%d of %d data ids done; outputs are in %s", done, len(results), parsed.output)
            if status and parsed.noExit:
                parsed.log.error("%d failed; going on because of --noExit", status)
            elif status:
                sys.exit(status)
    except BaseException:
        parsed.butler.close()
        raise
    return Struct(argumentParser=parser, parsedCmd=parsed, taskRunner=runner, resultList=results)


def _profiled(path, function, *args):
    if not path:
        return function(*args)
    from lsst.utils.timer import profile

    with profile(path):
        return function(*args)


def _exitStatus(parsed, runner, results):
    if runner.failedInitialization is not None:
        return _MISMATCH if isinstance(runner.failedInitialization, TaskError) else _INITIALIZATION
    try:
        failed = sum(result.exitStatus != 0 for result in results)
    except (TypeError, AttributeError) as error:
        parsed.log.warning("The results do not say whether they failed (%s); taken as success", error)
        return 0
    return min(failed, _MOST)
