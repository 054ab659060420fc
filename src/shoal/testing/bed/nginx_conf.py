"""The nginx configuration of the bed's registry."""

from string import Template

NGINX_CONF = Template("""\
daemon off;
user root;
worker_processes 1;
pid $folder/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  log_format counted escape=json '{"at":$$msec,"door":$$server_port,"client":"$$remote_addr",'
    '"method":"$$request_method","uri":"$$request_uri","status":$$status,'
    '"body":$$body_bytes_sent,"total":$$bytes_sent,"range":"$$http_range",'
    '"seconds":$$request_time,"user_agent":"$$http_user_agent"}';
  access_log $folder/access.log counted;
  default_type application/octet-stream;
  client_body_temp_path $folder/nginx-body;
  proxy_temp_path $folder/nginx-proxy;
  fastcgi_temp_path $folder/nginx-other;
  uwsgi_temp_path $folder/nginx-other;
  scgi_temp_path $folder/nginx-other;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  client_max_body_size 0;
  server_tokens off;

  # Never to disk: a client slower than the registry holds the registry back instead.
  proxy_max_temp_file_size 0;
  proxy_request_buffering off;
  proxy_buffer_size 16k;
  proxy_buffers 8 64k;
  proxy_busy_buffers_size 128k;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $$http_host;
  proxy_read_timeout 60s;

  upstream open { server unix:$folder/open.sock; keepalive 32; }
  upstream basic { server unix:$folder/basic.sock; keepalive 32; }
  upstream token { server unix:$folder/token.sock; keepalive 32; }

  server {
    listen [::]:5000 ipv6only=off;
    include $folder/fault.conf;
    location / { proxy_pass http://open; }
  }
  server {
    listen [::]:5001 ipv6only=off;
    include $folder/fault.conf;
    location / { proxy_pass http://basic; }
  }
  server {
    listen [::]:5002 ipv6only=off;
    include $folder/fault.conf;
    location / { proxy_pass http://token; }
  }
  server {
    listen [::]:5003 ipv6only=off;
    include $folder/fault.conf;
    location ~ "^/v2/.+/blobs/(?<algorithm>sha256):(?<shard>[0-9a-f][0-9a-f])(?<rest>[0-9a-f]+)$$" {
      if ($$request_method != GET) { proxy_pass http://open; }
      set $$data "/docker/registry/v2/blobs/$$algorithm/$$shard/$$shard$$rest/data";
      if (!-f $folder/storage$$data) { return 404; }
      return 307 http://$$host:5010$$data?signature=of-the-bed;
    }
    location / { proxy_pass http://open; }
  }
  server {
    listen [::]:5010 ipv6only=off;
    include $folder/fault.conf;
    root $folder/storage;
    if ($$arg_signature != "of-the-bed") { return 403; }
    # Object storage refuses a request that is signed twice.
    if ($$http_authorization != "") { return 400; }
  }
  server {
    listen unix:$folder/status.sock;
    access_log off;
    location / { stub_status; }
  }
}
""")
