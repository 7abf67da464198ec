package labelwatch.peer;

import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.Metric;
import org.apache.flink.metrics.MetricConfig;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;

/** How far the Kafka source has read, from Flink's own gauges: counting takes nothing from the job. */
public final class SourceOffsets implements MetricReporter {
  /** By partition: each belongs to one reader. */
  private static final Map<String, Gauge<?>> OFFSETS = new ConcurrentHashMap<>();

  /** Flink makes reporters by such a factory. */
  public static final class Factory implements MetricReporterFactory {
    @Override
    public MetricReporter createMetricReporter(Properties properties) {
      return new SourceOffsets();
    }
  }

  /** Records that have left the source, in all partitions; right while all of their offsets are records. */
  static long read() {
    long total = 0;
    for (Gauge<?> gauge : OFFSETS.values()) {
      total += ((Number) gauge.getValue()).longValue() + 1;
    }
    return total;
  }

  @Override
  public void notifyOfAddedMetric(Metric metric, String name, MetricGroup group) {
    // Legacy names of the connector end alike; these are the ones with a partition of their own.
    String partition = group.getAllVariables().get("<partition>");
    if (name.equals("currentOffset") && partition != null && metric instanceof Gauge<?> gauge) {
      OFFSETS.put(partition, gauge);
    }
  }

  @Override
  public void notifyOfRemovedMetric(Metric metric, String name, MetricGroup group) {
    // What a finished reader has read stays read.
  }

  @Override
  public void open(MetricConfig config) {
    // Nothing to open.
  }

  @Override
  public void close() {
    // Nothing to close.
  }
}
