package labelwatch.peer;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.util.Locale;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Peer: Flink SQL in one process, counts by person, keyed state on the heap, exactly-once checkpoints every 5 s.
 *
 * <p>Arguments: bootstrap, topic, number of events in the topic, events that are not counted, parallelism, whether with
 * mini-batches. The last line of the output is the result.
 */
public final class FlinkSql {
  private FlinkSql() {}

  public static void main(String[] arguments) throws IOException, InterruptedException {
    long wanted = Long.parseLong(arguments[2]);
    long uncounted = Long.parseLong(arguments[3]);
    Map<String, String> settings =
        Map.ofEntries(
            Map.entry("parallelism.default", arguments[4]),
            Map.entry("state.backend.type", "hashmap"),
            Map.entry("execution.checkpointing.interval", "5 s"),
            Map.entry("execution.checkpointing.mode", "EXACTLY_ONCE"),
            Map.entry("execution.checkpointing.storage", "filesystem"),
            Map.entry("execution.checkpointing.dir", Files.createTempDirectory("bench-flink").toUri().toString()),
            Map.entry("pipeline.object-reuse", "true"),
            Map.entry("table.exec.mini-batch.enabled", arguments[5]),
            Map.entry("table.exec.mini-batch.allow-latency", "1 s"),
            Map.entry("table.exec.mini-batch.size", "20000"),
            Map.entry("metrics.reporters", "offsets"),
            Map.entry("metrics.reporter.offsets.factory.class", SourceOffsets.Factory.class.getName()));
    TableEnvironment tables =
        TableEnvironment.create(
            EnvironmentSettings.newInstance()
                .inStreamingMode()
                .withConfiguration(Configuration.fromMap(settings))
                .build());
    tables.executeSql(
        """
        CREATE TABLE events (
          type STRING, site_id STRING, agent_id STRING, handle_ms BIGINT, correct BOOLEAN
        ) WITH (
          'connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s',
          'properties.group.id' = 'bench-flink-%d', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json'
        )"""
            .formatted(arguments[1], arguments[0], ProcessHandle.current().pid()));
    tables.executeSql(
        """
        CREATE TABLE nowhere (
          site_id STRING, agent_id STRING, labels BIGINT, reviews BIGINT, correct BIGINT, handle_ms BIGINT,
          PRIMARY KEY (site_id, agent_id) NOT ENFORCED
        ) WITH ('connector' = 'blackhole')""");
    tables.executeSql(
        """
        INSERT INTO nowhere
        SELECT site_id, agent_id,
          COUNT(*) FILTER (WHERE type = 'label_submitted'), COUNT(*) FILTER (WHERE type = 'label_reviewed'),
          COUNT(*) FILTER (WHERE correct), SUM(handle_ms)
        FROM events WHERE type IN ('label_submitted', 'label_reviewed') GROUP BY site_id, agent_id""");

    long began = reached(uncounted + 1);
    long cpuBegan = cpu();
    long from = SourceOffsets.read();
    double seconds = (reached(wanted) - began) / 1e9;
    double cpuSeconds = (cpu() - cpuBegan) / 1e9;
    System.out.printf(
        Locale.ROOT,
        "{\"events\": %d, \"seconds\": %f, \"cpu_seconds\": %f}%n", wanted - from, seconds, cpuSeconds);
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }

  /** Waits until so many records have left the source; the time in ns. */
  private static long reached(long records) throws InterruptedException {
    while (SourceOffsets.read() < records) {
      Thread.sleep(5);
    }
    return System.nanoTime();
  }

  private static long cpu() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }
}
