"""The monitor itself: does it read everything, in time, and what does it reject; for the people who keep it running."""

from grafana import shared, signals
from grafana.query import PanelQuery
from grafana.theme import Board
from grafana.words import NOT_KNOWN, SITE
from schemas.conditions import CERTIFICATE_ENDS, RECORDS_REJECTED, SITE_CLOCK_WRONG, TRANSACTION_HANGS
from schemas.states import AMBER, BLUE, GREY, LIGHT_GREY, NEUTRAL, ORANGE, PURPLE, SKY, VERMILLION
from schemas.words import Language, Words

OWNED = {
    0: (Words("■ unread", "■ 无人读取"), VERMILLION),
    1: (Words("✓ read", "✓ 已读取"), NEUTRAL),
    2: (Words("▲ twice", "▲ 两个实例"), AMBER),
}
READY = {0: (Words("■ not ready", "■ 未就绪"), VERMILLION), 1: (Words("✓ ready", "✓ 就绪"), NEUTRAL)}
SEVERITY = {"page": (Words("▼ page", "▼ 立即处理"), None), "ticket": (Words("▽ ticket", "▽ 工单"), None)}
MINUTE = "1m"
WORKER = Words("Worker", "监控实例")
PARTITION = Words("partition {{partition}}", "分区 {{partition}}")
#: Of a line whose unit is not the first one's.
RIGHT_AXIS = {"custom.axisPlacement": "right"}
#: Processes that not everybody runs, and how a panel says that none is there.
RECEIVER, BRIDGE = 'job="labelwatch-ingest"', 'job="labelwatch-bridge"'
NO_RECEIVER = Words("○ no receiver of webhooks", "○ 没有 webhook 接收器")
NO_BRIDGE = Words("○ no bridge", "○ 没有桥接")


def make(language: Language) -> Board:
    """The board in one language."""
    board = Board(
        "pipeline",
        shared.BOARDS["pipeline"],
        Words(
            "For who keeps the monitor running: lag, ownership, checkpoints, and what is rejected, late or lost.",
            "供监控运维人员使用：滞后、分区归属、检查点，以及被拒收、过晚或丢失的记录。",
        ),
        language,
        of='job="labelwatch"',
        since="now-6h",
        refresh="10s",
    )
    shared.links(board, "pipeline")
    shared.starts(board)
    _head(board)
    _lag(board)
    _events(board)
    _refused(board)
    _failures(board)
    _workers(board)
    _receiver(board)
    _bridge(board)
    return board


def _head(board: Board) -> None:
    shared.monitor(board, (0, 0, 4, 4))
    board.stat(
        (4, 0, 4, 4),
        Words("Workers", "监控实例"),
        [
            PanelQuery(signals.WORKERS_UP, instant=True, props={"thresholds": _none_is_bad()}),
            PanelQuery(signals.WORKERS_ALL, instant=True),
        ],
        empty=NOT_KNOWN,
    )
    board.stat(
        (8, 0, 4, 4),
        Words("Partitions", "分区"),
        [
            PanelQuery(signals.PARTITIONS_READ, instant=True, props={"thresholds": _none_is_bad()}),
            PanelQuery(signals.PARTITIONS_ALL, instant=True),
        ],
        empty=NOT_KNOWN,
    )
    board.stat(
        (12, 0, 4, 4),
        Words("Events a second", "每秒事件"),
        [PanelQuery(signals.EVENTS_ALL)],
        interval=MINUTE,
        names=False,
        sparkline=True,
        empty=NOT_KNOWN,
    )
    board.stat(
        (16, 0, 4, 4),
        Words("Rejected, last hour", "近一小时拒收"),
        [PanelQuery(signals.REJECTED_HOUR, instant=True)],
        names=False,
        thresholds=((None, NEUTRAL), (RECORDS_REJECTED.limit, AMBER)),
        empty=NOT_KNOWN,
    )
    board.stat(
        (20, 0, 4, 4),
        Words("Alerts firing", "告警触发"),
        [PanelQuery(signals.ALERTS_FIRING, instant=True)],
        names=False,
        thresholds=((None, NEUTRAL), (1, AMBER)),
        empty=NOT_KNOWN,
    )


def _none_is_bad() -> dict[str, object]:
    return {"mode": "absolute", "steps": [{"value": None, "color": VERMILLION}, {"value": 1, "color": NEUTRAL}]}


def _lag(board: Board) -> None:
    board.lines(
        (0, 4, 8, 8),
        signals.LAG_SECONDS.name,
        [PanelQuery(signals.LAG_SECONDS, PARTITION, colour=BLUE, shades=True)],
        floor=0,
        empty=NOT_KNOWN,
    )
    board.lines(
        (8, 4, 8, 8),
        signals.LAG_RECORDS.name,
        [PanelQuery(signals.LAG_RECORDS, PARTITION, colour=BLUE, shades=True)],
        floor=0,
        empty=NOT_KNOWN,
    )
    board.timeline((16, 4, 8, 4), signals.OWNERS.name, [PanelQuery(signals.OWNERS, PARTITION, mapping=OWNED)])
    board.timeline((16, 8, 8, 4), signals.READY.name, [PanelQuery(signals.READY, "{{reason}}", mapping=READY)])


def _events(board: Board) -> None:
    board.lines(
        (0, 12, 8, 8),
        Words("Events a second by type", "每秒事件，按类型"),
        [
            PanelQuery(signals.EVENTS_LABELS, colour=BLUE),
            PanelQuery(signals.EVENTS_REVIEWS, colour=ORANGE),
            PanelQuery(signals.EVENTS_STATES, colour=SKY),
            PanelQuery(signals.EVENTS_OTHER, colour=LIGHT_GREY),
        ],
        says=Words(
            "Events accepted, in steps of the checkpoints. One type that stops while the others go on: its producer is away.",
            "已接收事件，随检查点推进。某一类停止而其他继续：其生产者中断。",
        ),
        stacked="normal",
        interval=MINUTE,
        empty=NOT_KNOWN,
    )
    board.heat(
        (8, 12, 8, 8),
        Words("From event to figure", "从事件到数字"),
        [PanelQuery(signals.EVENT_DELAY, "{{le}}")],
        axis_unit="s",
        buckets=True,
    )
    board.lines(
        (16, 12, 8, 8),
        Words("Checkpoints: time and age", "检查点：耗时与时长"),
        [
            PanelQuery(signals.CHECKPOINT_MEDIAN, colour=SKY),
            PanelQuery(signals.CHECKPOINT_SLOW, colour=BLUE),
            PanelQuery(
                signals.COMMIT_AGE,
                Words("since the last, partition {{partition}}", "距上次，分区 {{partition}}"),
                colour=ORANGE,
                shades=True,
                props=RIGHT_AXIS,
            ),
        ],
        says=Words(
            "Left: how long a checkpoint takes. Right: how old the newest is. Old with lag: stalled; old on a quiet night: nothing to write.",
            "左轴：检查点耗时。右轴：最新检查点的时长。旧且有滞后：停滞；安静夜里变旧：没有可写内容。",
        ),
        floor=0,
        empty=NOT_KNOWN,
    )


def _refused(board: Board) -> None:
    board.lines(
        (0, 20, 8, 8),
        Words("Rejected a second by reason", "每秒拒收，按原因"),
        [PanelQuery(signals.REJECTED_REASONS, "{{reason}}", colour=VERMILLION, shades=True)],
        floor=0,
        interval=MINUTE,
        empty=NOT_KNOWN,
    )
    board.lines(
        (8, 20, 8, 8),
        Words("Odd events a second", "每秒异常事件"),
        [
            PanelQuery(signals.ODD_DUPLICATES, colour=SKY),
            PanelQuery(signals.ODD_LATE, colour=ORANGE),
            PanelQuery(signals.ODD_UNCHECKED, colour=LIGHT_GREY),
            PanelQuery(signals.ODD_UNKNOWN, colour=PURPLE),
            PanelQuery(signals.ODD_REVISED, colour=BLUE),
            PanelQuery(signals.ODD_LOST, colour=VERMILLION),
        ],
        says=Words(
            "Events that are counted and do not make figures. Lost: gone for good. Too late or duplicates by the hundred: a producer replays.",
            "被计数但不进入数字的事件。丢失：无法找回。大量过晚或重复：生产者在重放。",
        ),
        floor=0,
        interval=MINUTE,
        empty=NOT_KNOWN,
    )
    board.bars(
        (16, 20, 8, 8),
        Words("Clock skew by site, largest 10", "各站点时钟偏差，最大 10 个"),
        [PanelQuery(signals.CLOCK_SKEW, "{{site}}", instant=True)],
        thresholds=((None, ORANGE), (-SITE_CLOCK_WRONG.limit, GREY), (SITE_CLOCK_WRONG.limit, ORANGE)),
        floor=None,
    )


def _failures(board: Board) -> None:
    board.lines(
        (0, 28, 8, 7),
        Words("Behind open transactions", "被未结束的事务挡住"),
        [
            PanelQuery(
                signals.UNCOMMITTED, Words("records, partition {{partition}}", "记录，分区 {{partition}}"), colour=BLUE
            ),
            PanelQuery(
                signals.OPEN_TRANSACTION,
                Words("open since, partition {{partition}}", "已打开，分区 {{partition}}"),
                colour=ORANGE,
                shades=True,
                props=RIGHT_AXIS,
            ),
        ],
        says=Words(
            "Left: records that nobody may read before a producer's transaction ends. Right: how long it is open. Above "
            f"{TRANSACTION_HANGS.said.en}: that producer hangs, and figures wait for it.",
            f"左轴：生产者事务结束前无人可读的记录。右轴：事务已打开多久。超过 {TRANSACTION_HANGS.said.zh}：该生产者挂起，数字等待它。",
        ),
        floor=0,
        empty=NOT_KNOWN,
    )
    board.lines(
        (8, 28, 8, 7),
        Words("Failures within 15 minutes", "15 分钟内的失败"),
        [
            PanelQuery(
                signals.FAILED_CHECKPOINTS,
                Words("checkpoints not written, {{reason}}", "检查点写入失败，{{reason}}"),
                colour=VERMILLION,
                shades=True,
            ),
            PanelQuery(signals.FAILED_RESTORES, colour=ORANGE),
            PanelQuery(signals.FAILED_DEAD_LETTERS, colour=PURPLE),
            PanelQuery(signals.FAILED_PAGES, colour=SKY),
        ],
        says=Words(
            "What the workers could not do; each is tried again. Any that goes on is paged: docs/runbooks has what to do.",
            "各实例未能完成的操作；都会重试。持续则告警：docs/runbooks 有处置方法。",
        ),
        floor=0,
        interval=MINUTE,
        empty=NOT_KNOWN,
    )
    board.lines(
        (16, 28, 5, 7),
        signals.READERS_CUT_OFF.name,
        [PanelQuery(signals.READERS_CUT_OFF, "{{reason}}", colour=ORANGE, shades=True)],
        floor=0,
        interval=MINUTE,
        empty=NOT_KNOWN,
    )
    board.stat(
        (21, 28, 3, 7),
        signals.CERTIFICATES.name,
        [PanelQuery(signals.CERTIFICATES, "{{use}}", instant=True)],
        value_size=28,
        thresholds=((None, VERMILLION), (0, AMBER), (CERTIFICATE_ENDS.limit, NEUTRAL)),
        empty=Words("○ no certificate", "○ 没有证书"),
    )


def _workers(board: Board) -> None:
    board.table(
        (0, 35, 14, 6),
        Words("Workers", "监控实例"),
        [("instance", WORKER), ("version", Words("Version", "版本")), ("python", Words("Python", "Python 版本"))],
        [
            PanelQuery(signals.WORKER_STARTED),
            PanelQuery(signals.WORKER_LOOP),
            PanelQuery(signals.WORKER_CPU),
            PanelQuery(signals.WORKER_MEMORY),
        ],
        says=Words(
            "Each worker process. One that is missing here does not answer; a loop that has not turned for seconds hangs.",
            "每个监控进程。此处缺少即无应答；循环数秒未运行即挂起。",
        ),
        empty=Words("■ no worker answers", "■ 没有监控实例应答"),
        sort_by=None,
    )
    board.lines(
        (14, 35, 6, 6),
        signals.RENDER_SECONDS.name,
        [PanelQuery(signals.RENDER_SECONDS, "{{page}}", colour=BLUE, shades=True)],
        floor=0,
        empty=NOT_KNOWN,
    )
    board.stat(
        (20, 35, 4, 6),
        signals.SERIES_DROPPED.name,
        [PanelQuery(signals.SERIES_DROPPED, instant=True)],
        names=False,
        thresholds=((None, NEUTRAL), (1, AMBER)),
        empty=NOT_KNOWN,
    )
    board.table(
        (0, 41, 24, 7),
        Words("Alerts that fire now", "当前触发的告警"),
        [
            ("severity", Words("Severity", "级别")),
            ("alertname", Words("Alert", "告警")),
            ("site", SITE),
            ("project", Words("Project", "项目")),
            ("partition", Words("Partition", "分区")),
        ],
        [PanelQuery(signals.ALERTS_NOW)],
        empty=Words("✓ no alert", "✓ 没有告警"),
        sort_by=None,
        key_props={"severity": {"mappings": board.mappings(SEVERITY)}, **shared.site_keys(board)},
    )


def _receiver(board: Board) -> None:
    board.lines(
        (0, 48, 8, 7),
        Words("Receiver: webhooks a second", "接收器：每秒 webhook"),
        [
            PanelQuery(signals.HOOKS_READ, of=RECEIVER, colour=BLUE),
            PanelQuery(
                signals.HOOKS_REFUSED,
                Words("refused, {{reason}}", "已拒绝，{{reason}}"),
                of=RECEIVER,
                colour=VERMILLION,
                shades=True,
            ),
        ],
        says=Words(
            "Webhooks read and refused. None read while people label: the tool sends none, or not to here. secret: a stranger, or the tool has another; spool: the disk is full.",
            "已读取与已拒绝的 webhook。有人标注时没有读取：工具没有发送，或没有发到这里。secret：陌生来源或密钥不同；spool：磁盘已满。",
        ),
        floor=0,
        interval=MINUTE,
        empty=NO_RECEIVER,
    )
    board.lines(
        (8, 48, 8, 7),
        Words("Receiver: waiting for Kafka", "接收器：等待写入 Kafka"),
        [
            PanelQuery(
                signals.SPOOL_RECORDS, Words("events, {{instance}}", "事件，{{instance}}"), of=RECEIVER, colour=BLUE
            ),
            PanelQuery(
                signals.SPOOL_AGE,
                Words("oldest waits for, {{instance}}", "最早等待时长，{{instance}}"),
                of=RECEIVER,
                colour=ORANGE,
                shades=True,
                props=RIGHT_AXIS,
            ),
        ],
        says=Words(
            "Left: events on the receiver's disk that Kafka does not have yet. Right: how long the oldest waits. Both rise while Kafka "
            "is away; nothing is lost until the disk is full.",
            "左轴：接收器磁盘上尚未写入 Kafka 的事件。右轴：最早的等待时长。Kafka 中断时两者上升；磁盘写满之前不会丢失。",
        ),
        floor=0,
        empty=NO_RECEIVER,
    )
    board.lines(
        (16, 48, 8, 7),
        Words("Receiver: webhooks that got lost", "接收器：丢失的 webhook"),
        [
            PanelQuery(
                signals.HOOKS_MISSING,
                Words("{{kind}}, within an hour", "一小时内 {{kind}}"),
                of=RECEIVER,
                colour=VERMILLION,
                shades=True,
            ),
            PanelQuery(signals.SWEEPS_FAILED, of=RECEIVER, colour=PURPLE),
        ],
        says=Words(
            "Changes that a comparison with the tool found and no webhook had reported: they count now, late. While comparisons fail, nobody knows of any.",
            "与工具比对时发现、而没有 webhook 报告过的变更：现已计入，只是晚了。比对失败期间无从得知。",
        ),
        floor=0,
        interval=MINUTE,
        empty=NO_RECEIVER,
    )


def _bridge(board: Board) -> None:
    board.lines(
        (0, 55, 8, 7),
        Words("Bridge: records a second", "桥接：每秒记录"),
        [
            PanelQuery(signals.BRIDGE_MAPPED, of=BRIDGE, colour=BLUE),
            PanelQuery(signals.BRIDGE_PASSED, of=BRIDGE, colour=LIGHT_GREY),
            PanelQuery(
                signals.BRIDGE_REJECTED,
                Words("rejected, {{reason}}", "已拒收，{{reason}}"),
                of=BRIDGE,
                colour=VERMILLION,
                shades=True,
            ),
        ],
        says=Words(
            "What the records of the source come to. Rejected at once: the tool or the mapping has changed; their bytes are in the bridge's dead letters.",
            "来源记录的去向。拒收突然出现：工具或映射已改变；原始字节在桥接的死信主题中。",
        ),
        floor=0,
        interval=MINUTE,
        empty=NO_BRIDGE,
    )
    board.lines(
        (8, 55, 8, 7),
        Words("Bridge: lag", "桥接：滞后"),
        [
            PanelQuery(
                signals.BRIDGE_WAITING,
                Words("records, {{instance}} partition {{partition}}", "记录，{{instance}} 分区 {{partition}}"),
                of=BRIDGE,
                colour=BLUE,
                shades=True,
            ),
            PanelQuery(
                signals.BRIDGE_COMMIT_AGE,
                Words(
                    "last commit, {{instance}} partition {{partition}}", "距上次提交，{{instance}} 分区 {{partition}}"
                ),
                of=BRIDGE,
                colour=ORANGE,
                shades=True,
                props=RIGHT_AXIS,
            ),
        ],
        says=Words(
            "Left: records of the source that no commit holds. Right: how old the last commit is. Old with records waiting: stuck; old "
            "without: the topic is still.",
            "左轴：来源主题中尚未提交的记录。右轴：距最近一次提交的时长。旧且有记录等待：卡住；没有等待：主题安静。",
        ),
        floor=0,
        empty=NO_BRIDGE,
    )
    board.lines(
        (16, 55, 8, 7),
        Words("Bridge: transactions", "桥接：事务"),
        [
            PanelQuery(signals.BRIDGE_TRANSACTIONS, of=BRIDGE, colour=BLUE),
            PanelQuery(signals.BRIDGE_FAILURES, of=BRIDGE, colour=VERMILLION, props=RIGHT_AXIS),
        ],
        says=Words(
            "Left: transactions committed. Right: times that Kafka failed and all began anew at the last commit; nothing is lost or counted twice by it.",
            "左轴：已提交的事务。右轴：Kafka 失败并从最近一次提交处重新开始的次数；不会丢失，也不会重复计入。",
        ),
        floor=0,
        interval=MINUTE,
        empty=NO_BRIDGE,
    )
