package labelwatch.peer;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Peer: Kafka Streams, one thread, counts by person in a persistent store with its cache and changelog.
 *
 * <p>Arguments: bootstrap, topic, number of events, after how many of them the clock
 * starts, cached or uncached. The last line of the output is the result.
 */
public final class CountByPerson {
  private static final String STORE = "people";

  /** What is counted; every other field is skipped. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  record Event(
      String type, String event_id, long at, String site_id, String agent_id, String project_id, String task_id,
      String label, Long handle_ms, String market, String sop_version, String queue, String reviewer_id,
      String sampling, Boolean correct, Long labeled_at) {}

  private CountByPerson() {}

  public static void main(String[] arguments) throws IOException {
    String topic = arguments[1];
    long wanted = Long.parseLong(arguments[2]);
    boolean cached = arguments[4].equals("cached");
    Properties settings = new Properties();
    settings.putAll(
        Map.of(
            StreamsConfig.APPLICATION_ID_CONFIG, "bench-streams-" + ProcessHandle.current().pid(),
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1,
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 5000,
            StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("bench-streams").toString(),
            StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20,
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));

    var store =
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray())
            .withLoggingEnabled(Map.of());
    Topology topology = new Topology();
    topology.addSource("events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic);
    Meter meter = new Meter(wanted, Long.parseLong(arguments[3]));
    topology.addProcessor("count", () -> new Counter(meter), "events");
    topology.addStateStore(cached ? store.withCachingEnabled() : store.withCachingDisabled(), "count");
    new KafkaStreams(topology, settings).start();
  }

  private static final class Counter implements Processor<byte[], byte[], Void, Void> {
    private final ObjectReader reader = new ObjectMapper().readerFor(Event.class);
    private final Meter meter;
    private KeyValueStore<String, byte[]> people;

    Counter(Meter meter) {
      this.meter = meter;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
      people = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      Event event;
      try {
        event = reader.readValue(record.value());
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
      boolean isLabel = event.type().equals("label_submitted");
      if (isLabel || event.type().equals("label_reviewed")) {
        String person = event.site_id() + "/" + event.agent_id();
        byte[] before = people.get(person);
        ByteBuffer counts = before == null ? ByteBuffer.allocate(32) : ByteBuffer.wrap(before.clone());
        if (isLabel) {
          counts.putLong(0, counts.getLong(0) + 1);
          counts.putLong(24, counts.getLong(24) + (event.handle_ms() == null ? 0 : event.handle_ms()));
        } else {
          counts.putLong(8, counts.getLong(8) + 1);
          counts.putLong(16, counts.getLong(16) + (event.correct() ? 1 : 0));
        }
        people.put(person, counts.array());
      }
      meter.saw();
    }
  }

  /** Time from one event to the last, and how many came after it. */
  private static final class Meter {
    private final long wanted;
    private final long uncounted;
    private long seen;
    private long started;
    private long cpuStarted;

    Meter(long wanted, long uncounted) {
      this.wanted = wanted;
      this.uncounted = uncounted;
    }

    void saw() {
      if (++seen == uncounted + 1) {
        started = System.nanoTime();
        cpuStarted = cpu();
      }
      if (seen == wanted) {
        double seconds = (System.nanoTime() - started) / 1e9;
        double cpuSeconds = (cpu() - cpuStarted) / 1e9;
        System.out.printf(
            java.util.Locale.ROOT,
            "{\"events\": %d, \"seconds\": %f, \"cpu_seconds\": %f}%n", seen - uncounted - 1, seconds, cpuSeconds);
        System.out.flush();
        Runtime.getRuntime().halt(0);
      }
    }

    private static long cpu() {
      return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }
  }
}
