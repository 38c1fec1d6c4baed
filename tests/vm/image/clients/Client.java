import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.channels.UnresolvedAddressException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * A client with Java's own HttpClient and its defaults.
 *
 * Each line of standard input is a number of requests and the addresses to take turns with; each line of output is how
 * many were answered, and the last answer or what went wrong.
 */
public class Client {
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });

    /** By a client of its own, so that each request makes a connection of its own. */
    private static String get(String url) throws IOException, InterruptedException {
        HttpClient client = HttpClient.newBuilder().executor(THREADS).build();
        return client.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString()).body().strip();
    }

    private static String word(Throwable error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof UnresolvedAddressException) {
                return "no-address";
            }
            if (String.valueOf(cause.getMessage()).startsWith("Operation not permitted")) {
                return "EPERM";
            }
        }
        return "failed";
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = orders.readLine()) != null; ) {
            String[] words = line.split(" ");
            int count = Integer.parseInt(words[0]);
            int done = 0;
            String said = "";
            try {
                for (; done < count; done++) {
                    said = get(words[1 + done % (words.length - 1)]);
                }
            } catch (IOException error) {
                error.printStackTrace();
                said = word(error);
            }
            System.out.println(done + " " + said);
        }
    }
}
