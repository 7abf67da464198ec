"""Words that several boards share, in both languages."""

from schemas.words import Words

#: What a figure says where it is absent: too few reviews are no bad accuracy.
NOT_ENOUGH = Words("not enough data", "数据不足")
NOT_KNOWN = Words("■ NOT KNOWN", "■ 未知")
SITE = Words("Site", "站点")
PROJECT = Words("Project", "项目")
MARKET = Words("Market", "市场")
AGENT = Words("Agent", "标注员")
REVIEWER = Words("Reviewer", "质检员")
QUEUE = Words("Queue", "队列")
WINDOW = Words("Window", "时间窗")
