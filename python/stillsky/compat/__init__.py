"""Second-generation verbs on a third-generation Butler: parseAndRun, runDataRef, the write verbs, early introspection.

The task classes have these verbs by the mixins of `stillsky.task_base`; here is what they do. Nothing new should be built on
them: `pipetask` and `bps` are what runs tasks today.
"""
