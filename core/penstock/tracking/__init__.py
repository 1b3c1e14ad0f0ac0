"""Records of runs in MLflow, beside those in the store, from which they are made.

entity     what MLflow is to hold of a run or a task: pure
transport  MLflow's REST API, by plain HTTP or through mlflow-skinny
server     what is asked of an MLflow server
claims     how far MLflow was told of a run, in the outbox, and who tells it
recorder   which MLflow runs are a run's own, and what goes into them
backlog    what waits, and delivering it
follower   the thread that records a run while an engine drives it
tracker    all of this as the engine's tracker
"""
