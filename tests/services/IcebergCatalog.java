import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.rest.HTTPRequest;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.apache.iceberg.rest.RESTResponse;
import org.apache.iceberg.rest.responses.ErrorResponse;
import org.apache.iceberg.rest.responses.LoadTableResponse;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

/**
 * Iceberg's own REST servlet over its own JDBC catalogue: {@code IcebergCatalog PORT WAREHOUSE [KEY=VALUE]...}, for the script {@code iceberg}
 * beside this file. A key that begins with {@code vended.} is told with each table to whoever asks for credentials, as catalogues do that have
 * temporary ones.
 */
public class IcebergCatalog {
  public static void main(String[] args) throws Exception {
    Map<String, String> properties = new HashMap<>();
    Map<String, String> vended = new HashMap<>();
    properties.put("catalog-impl", "org.apache.iceberg.jdbc.JdbcCatalog");
    properties.put("uri", "jdbc:sqlite:catalog.db");
    properties.put("jdbc.schema-version", "V1");
    properties.put("warehouse", args[1]);
    for (int at = 2; at < args.length; at++) {
      String[] pair = args[at].split("=", 2);
      if (pair[0].startsWith("vended.")) {
        vended.put(pair[0].substring("vended.".length()), pair[1]);
      } else {
        properties.put(pair[0], pair[1]);
      }
    }
    Catalog catalog = CatalogUtil.buildIcebergCatalog("test", properties, new Configuration());
    Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    ServletContextHandler context = new ServletContextHandler();
    context.addServlet(new ServletHolder(new RESTCatalogServlet(new Vending(catalog, vended))), "/*");
    server.setHandler(context);
    server.start();
    System.err.println("Serving tables of " + args[1]);
    server.join();
  }

  private static class Vending extends RESTCatalogAdapter {
    private final Map<String, String> vended;

    Vending(Catalog catalog, Map<String, String> vended) {
      super(catalog);
      this.vended = vended;
    }

    @Override
    protected <T extends RESTResponse> T execute(
        HTTPRequest request,
        Class<T> type,
        Consumer<ErrorResponse> onError,
        Consumer<Map<String, String>> headers) {
      T response = super.execute(request, type, onError, headers);
      boolean asked = request.headers().entries("X-Iceberg-Access-Delegation").stream()
          .anyMatch(header -> header.value().contains("vended-credentials"));
      if (!(response instanceof LoadTableResponse) || !asked || vended.isEmpty()) {
        return response;
      }
      LoadTableResponse loaded = (LoadTableResponse) response;
      return RESTCatalogAdapter.castResponse(type, LoadTableResponse.builder()
          .withTableMetadata(loaded.tableMetadata())
          .addAllConfig(loaded.config())
          .addAllConfig(vended)
          .build());
    }
  }
}
