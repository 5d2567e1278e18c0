// Shows the API description with Swagger UI; every file comes from this server.
"use strict";
window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  deepLinking: false,
});
